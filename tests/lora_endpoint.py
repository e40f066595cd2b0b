"""An OpenAI-compatible endpoint on loopback that answers with real weights and loads LoRA adapters as vLLM does."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from peft import PeftModel

from feints.generate.local import LocalSource
from feints.generate.rendering import Renderer
from feints.generate.sample import complete_all
from feints.generate.source import Request, Sampling
from feints.generate.weights import load_weights, quiet_transformers
from feints.records import Finish

BASE = "base"


@dataclass(kw_only=True)
class Endpoint:
    """What was asked of it; the names of adapters are those it holds now."""

    folder: Path
    """Of the base weights."""
    key: str | None = None
    """Asked for as a bearer token."""
    adapters: bool = True
    """Whether it loads adapters at run time; vLLM does so only if it is told to."""
    base_url: str = ""
    sources: dict[str, LocalSource] = field(default_factory=dict)
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def asked(self, what: str) -> list[dict[str, Any]]:
        """Bodies of the calls to one route."""
        return [body for path, body in self.calls if path == f"/v1/{what}"]

    def source(self, adapter: Path | None = None) -> LocalSource:
        """The base, or the base with an adapter."""
        weights = load_weights(self.folder)
        model = weights.model
        if adapter is not None:
            with quiet_transformers():
                model = PeftModel.from_pretrained(model, adapter).merge_and_unload().eval()
        return LocalSource(model, Renderer(weights.tokenizer, False), f"{weights.identity} {adapter}")

    def answer(self, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        """Status and what is said."""
        self.calls.append((path, body))
        if path == "/v1/completions":
            return self._complete(body)
        name = body.get("lora_name", "")
        if not self.adapters or path not in ("/v1/load_lora_adapter", "/v1/unload_lora_adapter"):
            return 404, {"detail": "Not Found"}
        if path == "/v1/unload_lora_adapter":
            if self.sources.pop(name, None) is None:
                return 404, _error(f"The lora adapter '{name}' cannot be found.")
            return 200, f"Success: LoRA adapter '{name}' removed successfully."
        if name in self.sources:
            return 400, _error(f"The lora adapter '{name}' has already been loaded.")
        if not (Path(body["lora_path"]) / "adapter_config.json").is_file():
            return 404, _error(f"Loading lora {name} failed: No adapter found for {body['lora_path']}")
        self.sources[name] = self.source(Path(body["lora_path"]))
        return 200, f"Success: LoRA adapter '{name}' added successfully."

    def _complete(self, body: dict[str, Any]) -> tuple[int, Any]:
        source = self.sources.get(body["model"])
        if source is None:
            return 404, _error(f"The model `{body['model']}` does not exist.")
        sampling = Sampling(
            temperature=body["temperature"], top_p=body["top_p"], max_tokens=body["max_tokens"], stop=()
        )
        request = Request(prompt=body["prompt"], sampling=sampling, seed=body["seed"])
        (said,) = complete_all(source, [request])
        finish = "length" if said.finish is Finish.LENGTH else "stop"
        usage = {"prompt_tokens": said.usage.prompt_tokens, "completion_tokens": said.usage.completion_tokens}
        choice = {"index": 0, "text": said.text, "finish_reason": finish}
        return 200, {"id": "c", "object": "text_completion", "choices": [choice], "usage": usage}


def _error(message: str) -> dict[str, Any]:
    return {"error": {"message": message, "type": "BadRequestError", "code": 400}}


@contextmanager
def serving(endpoint: Endpoint) -> Iterator[Endpoint]:
    """Answer on a free port until the block ends."""
    endpoint.sources[BASE] = endpoint.source()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if endpoint.key and self.headers.get("Authorization") != f"Bearer {endpoint.key}":
                status, said = 401, _error(f"no: {self.headers.get('Authorization')}")
            else:
                with endpoint.lock:
                    status, said = endpoint.answer(self.path, body)
            kind, payload = "application/json", (said if isinstance(said, str) else json.dumps(said)).encode()
            if status == 200 and body.get("stream"):
                kind, payload = "text/event-stream", b"data: " + payload + b"\n\ndata: [DONE]\n\n"
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    endpoint.base_url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    try:
        yield endpoint
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
