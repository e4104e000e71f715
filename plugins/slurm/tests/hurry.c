/* Preloaded into slurmctld: its main loop sleeps ten times for a tenth of a second before it looks after its jobs. */
#include <time.h>
#include <unistd.h>

int usleep(useconds_t microseconds)
{
    if (microseconds == 100000)
        microseconds = 2000;

    struct timespec pause = {microseconds / 1000000, (microseconds % 1000000) * 1000L};
    return nanosleep(&pause, 0);
}
