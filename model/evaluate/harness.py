"""GPT-2s as a model of lm-evaluation-harness, and the harness's command with that model in it.

    python -m model.evaluate.harness --model webtext --model_args pretrained=CHECKPOINT --tasks lambada_openai

The harness (lm_eval, https://github.com/EleutherAI/lm-evaluation-harness; tried with 0.4.10 to 0.4.13) knows
the models of its own package, and those that were registered in its process: it reads no entry points and has
no option for models from elsewhere. So ours is registered first, and then its own command runs.

Log-likelihoods are those of the harness's `hf` model on the same weights: its own code splits contexts and
continuations into tokens, and windows of long texts lie as there, where they share no token.
docs/evaluation/lm-evaluation-harness.md says where the two part.
"""

import importlib
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch

from model.errors import ModelError
from model.evaluate.likelihoods import Window, score, windows_of
from model.evaluate.loading import load_language_model
from model.evaluate.requests import Generation, Likelihood, TextLikelihood, Written
from model.networks import num_parameters

NAME = "webtext"

_MAX_TOKENS = 256  # what the harness's models write where a task does not say
_MAX_TOKENS_NAMES = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")
_UNCHANGING = {"num_beams": 1, "top_p": 1, "repetition_penalty": 1}  # values that ask for nothing


def generation_of(prompt: str, wanted: Mapping[str, Any], seed: int, num_ids: int) -> Generation:
    """What a task's `generation_kwargs` ask for.

    Args:
        prompt: What stands before.
        wanted: `until`, `max_gen_toks` (or another of its names), `do_sample`, `temperature`, `top_k`.
        seed: What draws follow from.
        num_ids: Size of the vocabulary: what is drawn from where there is no `top_k`.

    Raises:
        ModelError: Something else is asked for, or a temperature other than 0 and 1.
    """
    left = dict(wanted)
    until = left.pop("until", None) or ()
    stop = (until,) if isinstance(until, str) else tuple(until)
    lengths = [int(left.pop(name)) for name in _MAX_TOKENS_NAMES if left.get(name) is not None]
    temperature, top_k = float(left.pop("temperature", None) or 0), left.pop("top_k", None)
    do_sample = left.pop("do_sample", None)
    is_drawn = temperature > 0 if do_sample is None else bool(do_sample)
    if not is_drawn:
        left.pop("top_p", None)  # as `temperature` and `top_k`, it changes nothing
    refused = {n: v for n, v in left.items() if v is not None and v != _UNCHANGING.get(n)}
    if is_drawn and temperature != 1:
        refused["temperature"] = temperature
    if refused:
        said = ", ".join(f"{name}={value}" for name, value in refused.items())
        raise ModelError(
            f"generation_kwargs: {NAME} cannot do {said}; it takes the likeliest tokens (do_sample=False), or"
            " draws with temperature=1.0 and top_k; say so with --gen_kwargs"
        )
    return Generation(
        prompt=prompt,
        max_tokens=lengths[0] if lengths else _MAX_TOKENS,
        stop=tuple(one for one in stop if one),
        top_k=(int(top_k or 0) or num_ids) if is_drawn else 1,
        seed=seed,
    )


class HarnessModel:
    """Answers the harness's requests; `register` makes lm_eval's own kind of model of it, a TemplateLM.

    Requests are lm_eval's Instances, whose `args` are (context, continuation), (text,) or
    (prompt, generation_kwargs).
    """

    def __init__(
        self, pretrained: str | None = None, device: str = "auto", batch_size: str | int = 1, **others: Any
    ) -> None:
        """Opens what `load_language_model` opens.

        Args:
            pretrained: Its path.
            device: Where to compute; see `find_device`.
            batch_size: Most windows or texts that are computed at once.
            **others: Arguments of other models, which are refused.

        Raises:
            ModelError: There is no such model or device, or an argument is wrong.
        """
        super().__init__()
        if pretrained is None or others:
            unknown = f"; not {', '.join(others)}" if others else ""
            raise ModelError(
                f"model_args: {NAME} takes pretrained=CHECKPOINT, device=… and batch_size=…{unknown}"
            )
        if not str(batch_size).isdecimal() or int(batch_size) < 1:
            raise ModelError(f"batch_size must be a whole number of at least 1, got {batch_size}")
        self.batch_size = int(batch_size)
        self.model = load_language_model(Path(str(pretrained)), device, rows=self.batch_size)

    @classmethod
    def create_from_arg_obj(
        cls, arg_dict: Mapping[str, Any], additional_config: Mapping[str, Any] | None = None
    ) -> Self:
        """Makes one of `--model_args`, which go before what else the harness was told.

        That holds its defaults too, among them the device cuda:0, on machines that have none.
        """
        told = {name: value for name, value in (additional_config or {}).items() if value is not None}
        if str(told.get("device")).startswith("cuda") and not torch.cuda.is_available():
            del told["device"]
        return cls(**{**told, **arg_dict})

    @classmethod
    def create_from_arg_string(
        cls, arg_string: str, additional_config: Mapping[str, Any] | None = None
    ) -> Self:
        """As `create_from_arg_obj`, from `name=value,name=value`."""
        parse = importlib.import_module("lm_eval.utils").simple_parse_args_string
        return cls.create_from_arg_obj(parse(arg_string), additional_config)

    @property
    def eot_token_id(self) -> int:
        """What stands before a text that nothing stands before."""
        return self.model.tokenizer.eot_id

    def tok_encode(self, string: str, *_: Any, **__: Any) -> list[int]:
        """The tokens of a text; nothing is put around them, and names of special tokens are text."""
        return self.model.tokenizer.encode(string)

    def _loglikelihood_tokens(
        self,
        requests: Sequence[tuple[tuple[str, str], list[int], list[int]]],
        disable_tqdm: bool = False,
        **_: Any,
    ) -> list[tuple[float, bool]]:
        """Called by TemplateLM.loglikelihood, which has split contexts and continuations into tokens."""
        asked = [self._windows(*request) for request in requests]
        return self._score(asked, disable_tqdm)

    def _windows(
        self, texts: tuple[str, str], context: list[int], continuation: list[int]
    ) -> Sequence[Window]:
        size = self.model.context
        if context and 0 < len(continuation) <= size:
            return [Window(np.array((context + continuation)[-size - 1 :], np.uint32), len(continuation))]
        # The harness's own models fail here: a token that has the end of the one text and the beginning of
        # the other leaves the continuation none, or it is longer than the model's context.
        return windows_of(Likelihood(*texts), self.model.tokenizer, size, stride=size)

    def loglikelihood_rolling(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[float]:
        """The log-probability of each text, behind the end of another, in windows that share no token."""
        size = self.model.context
        texts = [TextLikelihood(*request.args) for request in requests]
        asked = [windows_of(text, self.model.tokenizer, size, stride=size) for text in texts]
        return [log_probability for log_probability, _ in self._score(asked, disable_tqdm)]

    def _score(self, asked: Sequence[Sequence[Window]], disable_tqdm: bool) -> list[tuple[float, bool]]:
        """Of each request's windows together: log-probability, and whether all was the likeliest."""
        owners = [place for place, windows in enumerate(asked) for _ in windows]
        windows = [window for windows in asked for window in windows]
        found = [(0.0, True)] * len(asked)
        with _progress_bar("windows", len(windows), disable_tqdm) as bar:
            for place, likely in score(self.model.network, windows, self.batch_size):
                total, is_greedy = found[owners[place]]
                found[owners[place]] = (total + likely.log_probability, is_greedy and likely.is_likeliest)
                bar.update()
        return found

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
        """What follows each prompt. One that is asked for again (`repeats`) is answered by other draws."""
        times: Counter[str] = Counter()
        asked = []
        for request in requests:
            same = repr(request.args)
            prompt, wanted = request.args
            asked.append(generation_of(prompt, wanted, times[same], self.model.tokenizer.vocab_size))
            times[same] += 1
        with _progress_bar("texts", len(set(asked)), disable_tqdm) as bar:
            replies = self.model.answer(asked, lambda *_: bar.update())
        return [reply.text for reply in replies if isinstance(reply, Written)]

    @property
    def tokenizer_name(self) -> str:
        """What the harness keeps texts that it has made under."""
        return self.model.tokenizer.digest

    def chat_template(self, chat_template: bool | str = False) -> str:
        """None: a GPT-2 knows no roles.

        Raises:
            ModelError: One is asked for.
        """
        if chat_template:
            raise ModelError("a GPT-2 has no chat template: leave out --apply_chat_template")
        return ""

    def get_model_info(self) -> dict[str, Any]:
        """What the harness's results say of the model."""
        network = self.model.network
        return {
            "model_num_parameters": num_parameters(network),
            "model_dtype": str(network.tokens.weight.dtype),
            "model_tokenizer_sha256": self.model.tokenizer.digest,
        }


def register() -> None:
    """Makes `webtext` one of the models that the harness knows in this process.

    Raises:
        ModelError: The harness is not installed.
    """
    try:
        template = importlib.import_module("lm_eval.api.model").TemplateLM
        importlib.import_module("lm_eval.models")  # it is passed over once the registry holds anything
        registry = importlib.import_module("lm_eval.api.registry")
    except ImportError as error:
        raise ModelError(f"lm_eval cannot be had ({error}); install webtext[lm-eval]") from error
    if NAME not in registry.MODEL_REGISTRY:
        registry.register_model(NAME)(type("WebtextLM", (HarnessModel, template), {}))


def _progress_bar(what: str, total: int, is_hidden: bool) -> Any:
    return importlib.import_module("tqdm").tqdm(desc=f"{NAME}: {what}", total=total, disable=is_hidden)


def main() -> None:
    """The harness's own command, `lm_eval`, with `webtext` among its models."""
    try:
        register()
        importlib.import_module("lm_eval.__main__").cli_evaluate()
    except ModelError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
