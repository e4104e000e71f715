"""What an error of AWS means, in one sentence: what was asked, what AWS said, and what to change."""

from __future__ import annotations

from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, NoRegionError, ProfileNotFound
from botocore.exceptions import HTTPClientError as NoAnswer

from covalent_core_awsbatch.errors import BatchError, BatchRefusedError, BatchUnreachableError

#: AWS takes no more at the moment: it has surely done nothing.
THROTTLED = {
    "Throttling",
    "ThrottlingException",
    "ThrottledException",
    "TooManyRequestsException",
    "RequestLimitExceeded",
    "RequestThrottled",
    "RequestThrottledException",
    "SlowDown",
    "BandwidthLimitExceeded",
    "EC2ThrottledException",
}

#: The credentials are no longer good; others may be soon.
EXPIRED = {"ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired"}

MISSING = {"404", "NoSuchKey", "NotFound", "NoSuchUpload"}

#: What to change, by what AWS calls the error.
ADVICE = {
    "AccessDenied": "allow it in the IAM policy of these credentials; the README has one that is enough",
    "AccessDeniedException": "allow it in the IAM policy of these credentials; the README has one that is enough",
    "ExpiredToken": "log in again, for example with: aws sso login",
    "ExpiredTokenException": "log in again, for example with: aws sso login",
    "InvalidAccessKeyId": "look at the credentials that boto3 finds: aws sts get-caller-identity",
    "UnrecognizedClientException": "look at the credentials that boto3 finds: aws sts get-caller-identity",
    "InvalidClientTokenId": "look at the credentials that boto3 finds: aws sts get-caller-identity",
    "SignatureDoesNotMatch": "look at the secret key and at the clock of this machine",
    "RequestTimeTooSkewed": "set the clock of this machine",
    "NoSuchBucket": "create the bucket, or name another one with s3_bucket_name",
    "PermanentRedirect": "name a bucket in the region of the queue",
}


def is_throttled(error: BaseException) -> bool:
    """Return whether AWS said that it takes no more at the moment."""
    return isinstance(error, ClientError) and (code_of(error) in THROTTLED or status_of(error) == 429)


def is_missing(error: BaseException) -> bool:
    """Return whether S3 said that there is no such object."""
    return isinstance(error, ClientError) and code_of(error) in MISSING


def is_no(error: BaseException) -> bool:
    """Return whether AWS has surely not done what it was asked for."""
    return isinstance(error, ClientError) and 400 <= status_of(error) < 500 and code_of(error) != "RequestTimeout"


def code_of(error: ClientError) -> str:
    """Return what AWS calls an error."""
    return str(error.response.get("Error", {}).get("Code", ""))


def status_of(error: ClientError) -> int:
    """Return the HTTP status of an answer."""
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def said(error: ClientError) -> str:
    """Return AWS's own words."""
    message = str(error.response.get("Error", {}).get("Message", "")).strip()
    return f"{code_of(error)}: {message}" if message else f"{code_of(error)} (HTTP {status_of(error)})"


def translated(error: BaseException, asked: str, *, changes: bool = False) -> BatchError:
    """Return the error for the user.

    Args:
        asked: What was asked: "SubmitJob to the queue work".
        changes: Whether it may be done though no answer says so.
    """
    if isinstance(error, ClientError):
        return _answered(error, asked, changes)

    if isinstance(error, NoCredentialsError | ProfileNotFound | NoRegionError):
        advice = "set the options profile, credentials and region, or what boto3 reads: ~/.aws/config, AWS_PROFILE"
        return BatchRefusedError(f"{asked} cannot be asked of AWS: {error}; {advice}")

    if isinstance(error, NoAnswer | BotoCoreError | OSError):
        words = f"{asked} has had no answer from AWS: {error}"
        return BatchError(f"{words}; it may have been done all the same") if changes else BatchUnreachableError(words)

    return BatchError(f"{asked} has failed: {type(error).__name__}: {error}")


def _answered(error: ClientError, asked: str, changes: bool) -> BatchError:
    code = code_of(error)
    words = f"AWS answered to {asked}: {said(error)}" + (f"; {ADVICE[code]}" if code in ADVICE else "")

    if is_throttled(error):
        return BatchUnreachableError(words)

    if code in EXPIRED:
        return BatchUnreachableError(words, refused=True)

    if is_no(error):
        return BatchRefusedError(words, code=code)

    return BatchError(f"{words}; it may have been done all the same") if changes else BatchUnreachableError(words)
