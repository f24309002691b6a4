"""What fuzzing has found: the smallest input of each failure, by the target that it made fail."""

import base64

_DIGITS = b"9" * 5_000
_DEEP = b"[" * 100_000
_TINY = (
    b'"architecture": "gpt2", "config": {"vocab_size": 9, "context": 9, "layers": 1, "width": 4, "heads": 1}'
)
# A file that begins as a packed ARC file does, in which warcio tells of a record before the file's beginning.
_NO_ARC = base64.b64decode(
    "H4sIAAAAAAACAz2KwQrCMBAF7/mK/YE0Gw+t9SaeCh6K4AcsydMGQizJIvbvFRGZ28zcUkZECwfnpJMaiLsvtGM/cs8D73n0TIqX"
    "ujVLKjT0xhPTVBS1QI81LOkJc72caZqtxFjRGv20jaKg0+MzF7W6rfiXjHLXxZg3RiVAmoMAAAAfiwgAAAAAAAID5ZFda8IwFIbv"
    "C/0P+QMxibrWxhgQvZhssOE6hN2lTfoBbRPalOm/X7oqwtzF7jbYXc5Hnve85xzW+w0iE+x7B/eC8ckoCt5Fm5ZNps/JvUp1K+Fu"
    "SwHr24b2fSkpwbMIRwGBSSgEXGREQhEmGVxE8+lC4nkgJeFnwFZYR51iEkEcQBzGeEFx5BBvF1nR5srC1/2OAt/b6Maqxp6HEcZU"
    "ZSpsqRtUWGuWoO5y60qr65iXH4+qyW1BAZn5nu91OrOuxzGOQzhq3ZhtVWd006lfMTsY6ihC6ihqU6lJqmskfr6B6+w3G7gLBsf3"
    "cfzsHBM3DwZPD1/JVh2tQ9bVEqSFaDtlV711tm55YTjg2NDLWaGE5MyWtlJ8DYzIFUNjxNBYS7Q8cWb4i67Vp8qEIeOqY/5Tkv/N"
    "i7DvTpLwf3STD/4LivUTBAAAkQ=="
)

FOUND = (
    ("robots-txt", b"user-agent: *\nrequest-rate: 1/%s\n" % _DIGITS[:400]),
    ("warc-files", _NO_ARC),
    ("dump-lines", b'{"title": ' + b"[" * 5_000),
    ("reddit-journals", b'{"listing":"a","last":true,"rows":[{}]}\n'),
    ("token-files", b"MMIDIDX\0\0"),
    ("tokenizer-files", _DIGITS),
    ("gpt2-vocabularies", _DIGITS + b"|||#version"),
    ("settings-files", b"a = " + _DIGITS),
    ("settings-files", b"a = " + _DEEP),
    ("settings-files", '[fetch]\nresolve = { "\U0001f4a9.b" = "127.0.0.1:80" }'.encode()),
    ("settings-files", b"fetch.retry_wait_s = " + _DIGITS[:400]),
    ("assignments", b"link.opt_out=" + _DEEP),
    ("run-records", b"{"),
    ("run-records", b"[]"),
    ("run-records", _DEEP),
    ("run-records", b'{"step": 1e400}'),
    ("crawl-journals", b'1{"fingerprint":"\xff"}'),
    ("crawl-journals", b'1{"fingerprint":"f"}\n{"entry":{"id":"\xff"}}'),
    (
        "shard-manifests",
        b'{"facts":{"vocab_size":1,"tokenizer":"","tokens":{}},"parts":[{"files":[{"name":"a","sha256":""}]}]}',
    ),
    ("training-logs", b'{"step": 1}\n{]}\n{"step": 2}\n'),
    ("fine-tuned-descriptions", _DEEP),
    ("fine-tuned-descriptions", b'{%s, "task": "classify", "max_length": 1e999}' % _TINY),
    ("torch-pickles", b"ccollections\nOrderedDict\nq\x00)Rq\x01tq\x02"),
    ("checkpoint-weights", b"\x02\0\0\0\0\0\0\0{]"),
    ("checkpoint-weights", b"\x02\0\0\0\0\0\0\0{}"),
    ("evaluation-wikitext2", b"\n" * 99_000 + b" = Title = \n"),
    (
        "shard-manifests",
        b'{"facts":{"vocab_size":1,"tokenizer":"","tokens":{}},"parts":[{"files":[{"name":"%s","bytes":1,'
        b'"sha256":""}]}]}' % (b"a" * 300),
    ),
    (
        "transformers-configs",
        b'{"model_type":"gpt2","n_embd":4,"n_head":1,"n_layer":1,"n_positions":%s,"vocab_size":261}'
        % (b"9" * 19 + b"9"),
    ),
    ("pauses", b'{"origin":"\xff","asked_s":1.0,"until":1.0}\n'),
)
