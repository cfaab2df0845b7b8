"""The engine alone, in a process of its own: offline `LLM.generate` on token ids, told what to do over HTTP.

`POST /prompts` keeps the prompts, so that their way here is not measured; `POST /generate` reads the labels after each;
`POST /reset` empties the prefix cache. The sampling is the cheapest that vLLM has for this.
"""

import argparse
import json
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any


class Raw:
    """The engine, and what it was last given."""

    def __init__(self, options: argparse.Namespace) -> None:
        from vllm import LLM

        maker: Any = LLM
        self._llm = maker(
            model=options.model,
            dtype=options.dtype,
            enforce_eager=True,
            max_model_len=options.max_model_len,
            max_num_batched_tokens=options.max_num_batched_tokens,
            max_num_seqs=options.max_num_seqs,
        )
        self._prompts: list[dict[str, list[int]]] = []
        self._label_ids: list[int] = []

    def prompts(self, told: dict[str, Any]) -> dict[str, Any]:
        self._prompts = [{"prompt_token_ids": ids} for ids in told["prompts"]]
        self._label_ids = told["label_ids"]
        return {"prompts": len(self._prompts)}

    def reset(self, told: dict[str, Any]) -> dict[str, Any]:
        return {"reset": bool(self._llm.reset_prefix_cache())}

    def generate(self, told: dict[str, Any]) -> dict[str, Any]:
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        sampling = SamplingParams(
            max_tokens=1,
            temperature=0.0,
            logprobs=len(self._label_ids),
            logprob_token_ids=self._label_ids,
            detokenize=False,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )
        started = time.perf_counter()
        outputs = self._llm.generate(self._prompts, sampling, use_tqdm=False)
        seconds = time.perf_counter() - started
        logprobs = [output.outputs[0].logprobs[0] for output in outputs]
        return {
            "seconds": seconds,
            "verdicts": sum(all(label in read for label in self._label_ids) for read in logprobs),
            "prompt_tokens": sum(len(output.prompt_token_ids) for output in outputs),
            "cached_tokens": sum(output.num_cached_tokens or 0 for output in outputs),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--dtype", required=True)
    for limit in ("--max-model-len", "--max-num-batched-tokens", "--max-num-seqs"):
        parser.add_argument(limit, type=int, required=True)
    options = parser.parse_args()
    raw = Raw(options)
    doors = {"/prompts": raw.prompts, "/reset": raw.reset, "/generate": raw.generate}

    class Door(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer({"ready": True})

        def do_POST(self) -> None:
            told = self.rfile.read(int(self.headers["Content-Length"]))
            self._answer(doors[self.path](json.loads(told or b"{}")))

        def _answer(self, value: dict[str, Any]) -> None:
            body = json.dumps(value).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    HTTPServer(("127.0.0.1", options.port), Door).serve_forever()


if __name__ == "__main__":
    main()
