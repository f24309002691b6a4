"""What is shown of a URI that has a key in it."""

import pytest

from webtext.paths import without_credentials


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("s3://KEY:SEC/RET@bucket/run", "s3://…@bucket/run"),
        ("S3:/KEY:SECRET@bucket: no", "S3:/…@bucket: no"),
        ("https://ghp_TOKEN@example.com/run cannot be opened", "https://…@example.com/run cannot be opened"),
        ("hdfs://me:secret/key@host/run", "hdfs://…@host/run"),
        ("https://me:pass@example.com", "https://…@example.com"),
        ("https://medium.com:443/@user/post", "https://medium.com:443/@user/post"),
        ("https://a/b?x=1:2,foo@bar.com", "https://a/b?x=1:2,foo@bar.com"),
        ("gs://anonymous@bucket/run", "gs://anonymous@bucket/run"),
        ("write to a@b.org: s3://bucket", "write to a@b.org: s3://bucket"),
    ],
)
def test_no_key_is_shown_and_nothing_else_changed(text: str, shown: str) -> None:
    assert without_credentials(text) == shown
