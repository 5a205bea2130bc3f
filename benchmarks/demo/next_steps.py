"""What a person may want to try when the demo has ended: commands that work as they are printed."""

from __future__ import annotations

import shlex
from pathlib import Path

from benchmarks.demo.kubectl import Kubectl


def next_steps(kubectl: Kubectl, *, namespace: str, model: str, address: str, image: Path) -> str:
    """The last words of the demo. `address` is the Service's `host:port`, `image` one of the held-out files."""
    settings = f"export KUBECONFIG={shlex.quote(kubectl.kubeconfig)}"
    folder = Path(kubectl.program).parent
    if kubectl.program != "kubectl" and str(folder) != ".":
        settings += f' PATH="{folder}:$PATH"'
    png = f"'$(base64 -w0 {shlex.quote(str(image))})'"
    body = f'{{"signature_name": "serving_bytes", "instances": [{{"b64": "{png}"}}]}}'
    on = f"kubectl -n {namespace}"
    return f"""\
What to try next (the cluster stays up):

  {settings}

  # ask for one of the images that training never saw (a {image.parent.name}):
  curl -d '{body}' http://{address}/v1/models/{model}:predict

  # train a second version; the first one serves until the second is ready, and no request fails:
  {on} patch kerasmodel {model} --type=merge -p '{{"spec": {{"training": {{"seed": 7}}}}}}'
  {on} get kerasmodels,kerasmodelversions --watch

  # a bar that no version can reach: version 3 is rejected, and what serves goes on serving:
  {on} patch kerasmodel {model} --type=merge \\
    -p '{{"spec": {{"training": {{"seed": 8}}, "evaluation": {{"gates": [{{"metric": "loss", "max": 0}}]}}}}}}'
  {on} describe kerasmodel {model}

  # two pods; nothing is trained again:
  {on} scale kerasmodel {model} --replicas=2

  # everything that can be written:
  kubectl explain kerasmodel.spec --recursive

  # remove every trace:
  make demo-down
"""
