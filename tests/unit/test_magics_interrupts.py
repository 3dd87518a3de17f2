"""A Ctrl-C in a command that takes a while: one sentence, which is true."""

from __future__ import annotations

from typing import Any

import pytest
from magics_world import Capture, LocalContainerManager, Shell, said

from clipper_magic import ClipperConnection
from clipper_magic.commands.boundary import Interrupted

BEFORE, AFTER = "before it is done", "when it is done"
INTERRUPTED = [
    (
        "%%clipper_deploy sum-model\ndef f(xs): return [1 for x in xs]",
        "deploy_model",
        BEFORE,
        "Interrupted: the deployment of sum-model:3 was cancelled; nothing was deployed.",
        "Interrompu : le déploiement du modèle sum-model:3 est annulé ; rien n’a été déployé.",
    ),
    (
        "%%clipper_deploy sum-model\ndef f(xs): return [1 for x in xs]",
        "deploy_model",
        AFTER,
        "Interrupted: sum-model:3 is deployed.",
        "Interrompu : le modèle sum-model:3 est déployé.",
    ),
    (
        "%clipper deploy-image sum-model:4 image --input-type doubles",
        "deploy_model",
        BEFORE,
        "Interrupted: the deployment of sum-model:4 was cancelled; nothing was deployed.",
        "Interrompu : le déploiement du modèle sum-model:4 est annulé ; rien n’a été déployé.",
    ),
    (
        "%clipper build sum-model:4 .",
        "build_model",
        BEFORE,
        "Interrupted: no image of sum-model:4 was built.",
        "Interrompu : aucune image du modèle sum-model:4 n’a été construite.",
    ),
    (
        "%clipper replicas sum-model 9",
        "set_num_replicas",
        BEFORE,
        "Interrupted: sum-model:2 has 1 replica.",
        "Interrompu : le modèle sum-model:2 a 1 réplique.",
    ),
    (
        "%clipper replicas sum-model 9",
        "set_num_replicas",
        AFTER,
        "Interrupted: sum-model:2 has 9 replicas.",
        "Interrompu : le modèle sum-model:2 a 9 répliques.",
    ),
    (
        "%clipper start --cluster other --backend local",
        "start_clipper",
        BEFORE,
        "Interrupted: the start of cluster other was cancelled; nothing was started.",
        "Interrompu : le démarrage de la grappe other est annulé ; rien n’a été démarré.",
    ),
    (
        "%clipper start --cluster other --backend local",
        "start_clipper",
        AFTER,
        "Interrupted: cluster other runs. `%clipper status` shows it.",
        "Interrompu : la grappe other tourne. `%clipper status` la montre.",
    ),
]


@pytest.mark.parametrize(("cell", "verb", "when", "english", "french"), INTERRUPTED)
@pytest.mark.parametrize("language", ["en", "fr"])
def test_an_interrupt_says_what_became_of_it(
    serving: Shell,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Capture,
    language: str,
    cell: str,
    verb: str,
    when: str,
    english: str,
    french: str,
) -> None:
    work = getattr(ClipperConnection, verb)

    def interrupted(*args: Any, **named: Any) -> None:
        if when == AFTER:
            work(*args, **named)
        raise KeyboardInterrupt

    monkeypatch.setattr(ClipperConnection, verb, interrupted)
    serving.run(f"%clipper lang {language};")
    said(capsys)
    with pytest.raises(Interrupted):
        serving.run(cell)

    wanted = english if language == "en" else french
    assert said(capsys).replace("\u00a0", " ").replace("\u202f", " ").splitlines() == [wanted]


def test_an_interrupted_stop_says_how_to_stop_the_rest(
    serving: Shell, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    def interrupted(*args: Any, **named: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(LocalContainerManager, "stop_all", interrupted)
    said(capsys)
    with pytest.raises(Interrupted):
        serving.run("%clipper stop --all")

    assert said(capsys).splitlines() == [
        "Interrupted: some of cluster default-cluster may be left. `%clipper stop --all` stops the rest."
    ]
