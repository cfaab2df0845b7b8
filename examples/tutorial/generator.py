"""Stands in for a strong chat model: an OpenAI-compatible endpoint that answers twelve prompts with rubrics of a file.

    python examples/tutorial/generator.py [PORT]

People wrote these rubrics. The tutorial uses them because its small model cannot write any. Put the address of your own
model in their place. A conversation that is not among the twelve is refused, so that nothing is made up.
"""

import json
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

RUBRICS = json.loads((Path(__file__).parent / "rubrics.json").read_text(encoding="utf-8"))


class Generator(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        asked = str(json.loads(self.rfile.read(int(self.headers["Content-Length"])))["messages"])
        rubric = next((rubric for prompt, rubric in RUBRICS.items() if prompt in asked), None)
        if rubric is None:
            return self.answer(
                400, {"error": {"message": "this generator knows twelve prompts, and this is none of them"}}
            )
        written = json.dumps({"rubrics": [{"criterion": text, "points": points} for text, points in rubric]})
        message = {"role": "assistant", "content": written}
        return self.answer(
            200,
            {
                "id": "rubric",
                "object": "chat.completion",
                "model": "people",
                "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
                "usage": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
            },
        )

    def answer(self, status: int, body: dict) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None: ...


if __name__ == "__main__":
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 8200
    print(f"listening on http://127.0.0.1:{port}/v1", flush=True)
    HTTPServer(("127.0.0.1", port), Generator).serve_forever()
