"""What AWS answers when it does not do what it was asked for, in one sentence each."""

from __future__ import annotations

from botocore import exceptions as known

from covalent_core_braket.errors import BraketError, BraketJobError, BraketThrottledError, BraketUnreachableError

THROTTLED = {
    "RequestLimitExceeded",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
}

#: Somebody is there, and these credentials are not good any more, or not yet.
UNKNOWN_CREDENTIALS = {
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "RequestTimeTooSkewed",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
}

DENIED = {"AccessDenied", "AccessDeniedException", "AccessDeniedFault"}


class QuotaReachedError(BraketError):
    """The account has as many of these as it may."""


class NotThereError(BraketError):
    """What was asked about does not exist."""


class DeniedError(BraketError):
    """The policy of whoever asks does not allow it."""


class ConflictError(BraketError):
    """What is asked for is the case already, or cannot be any more."""


def translate(error: Exception, operation: str) -> Exception:
    """Return what to raise for what a client of AWS has raised."""
    if isinstance(error, known.ClientError):
        return _of_service(error, operation)

    return _of_line(error, operation)


def _of_line(error: Exception, operation: str) -> Exception:
    credentials = (known.NoCredentialsError, known.PartialCredentialsError, known.ProfileNotFound)

    if isinstance(error, credentials):
        return BraketError(f"{operation}: {error}; name a profile with profile=, or log in")

    if isinstance(error, (known.SSOError, known.TokenRetrievalError, known.CredentialRetrievalError)):
        return BraketUnreachableError(f"{operation}: {error}; log in again", refused=True)

    if isinstance(error, (known.HTTPClientError, known.ConnectionError, OSError)):
        return BraketUnreachableError(f"{operation}: {error}")

    return BraketError(f"{operation}: {error}") if isinstance(error, known.BotoCoreError) else error


def _of_service(error: known.ClientError, operation: str) -> Exception:
    response = error.response
    code, words = str(response["Error"].get("Code", "")), str(response["Error"].get("Message", ""))
    status = int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    said = f"{operation}: {words or code}"

    if code in THROTTLED or status == 429:
        return BraketThrottledError(said)

    if code in UNKNOWN_CREDENTIALS:
        return BraketUnreachableError(f"{said} ({code}); log in again", refused=True)

    if status >= 500:
        return BraketUnreachableError(f"{said} ({code or status})")

    if code in DENIED:
        return DeniedError(f"{said}{_denied(words, operation)}")

    return _by_code(code, status, said)


def _by_code(code: str, status: int, said: str) -> Exception:
    if code == "ServiceQuotaExceededException":
        return QuotaReachedError(said)

    if code == "ConflictException":
        return ConflictError(said)

    if status == 404:
        return NotThereError(said)

    if code == "DeviceOfflineException":
        return BraketJobError(f"{said}; it takes nothing now, and may be back later")

    if code == "DeviceRetiredException":
        return BraketJobError(f"{said}; the device is retired, name another one", retry=False)

    return BraketError(f"{said} ({code})")


def _denied(words: str, operation: str) -> str:
    if "not authorized to use this resource" in words:
        return "; the account has not been enabled for it: ask AWS Support to enable Amazon Braket"

    if operation in ("PutObject", "GetObject", "ListObjectsV2"):
        return "; the policies that AWS manages for Braket allow only buckets whose names begin with amazon-braket-"

    return "; the policy of whoever asks, or of the role, does not allow it"
