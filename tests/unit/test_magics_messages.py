"""What a wrong line is answered: one line, its fix, a code, in both languages; and still an error."""

from __future__ import annotations

import pytest
from magics_world import Shell, World

from clipper_magic.commands import REGISTRY
from clipper_magic.exceptions import ClipperException
from serving_image.model_loader import IMPORT_ERROR

TWO_ROWS = 2 * 120

MESSAGES = [
    (
        "%clipper strat",
        "unknown-command",
        "ClipperUsageError: There is no command 'strat'. Fix: %clipper start",
        "ClipperUsageError: Il n’y a pas de commande « strat ». Solution : %clipper start",
    ),
    (
        "%clipper xyzzy",
        "unknown-command",
        "ClipperUsageError: There is no command 'xyzzy'. Fix: %clipper help",
        "ClipperUsageError: Il n’y a pas de commande « xyzzy ». Solution : %clipper help",
    ),
    (
        "%clipper link a",
        "missing-argument",
        "ClipperUsageError: Missing: MODEL. Fix: %clipper link APP MODEL",
        "ClipperUsageError: Il manque : MODEL. Solution : %clipper link APP MODEL",
    ),
    (
        "%clipper apps extra",
        "too-many-arguments",
        "ClipperUsageError: There is no place for 'extra'. Fix: %clipper apps [--verbose]",
        "ClipperUsageError: « extra » est de trop. Solution : %clipper apps [--verbose]",
    ),
    (
        "%clipper register a --input-typ doubles",
        "unknown-option",
        "ClipperUsageError: %clipper register has no option --input-typ. Fix: --input-type",
        "ClipperUsageError: %clipper register n’a pas d’option --input-typ. Solution : --input-type",
    ),
    (
        "%clipper register a --input-type dubles --default-output x --slo 1s",
        "bad-input-type-name",
        "InputTypeError: Unknown input type 'dubles'. Fix: Use one of integers, floats, doubles, bytes, strings, json.",
        "InputTypeError: Type d’entrée inconnu : « dubles ». Solution : "
        "Choisissez parmi integers, floats, doubles, bytes, strings, json.",
    ),
    (
        "%clipper register a --input-type doubles --default-output x --slo 1h",
        "bad-duration",
        "ClipperUsageError: --slo cannot be '1h'. Fix: Give a number and its unit: 100ms, 0.5s, 20000us.",
        "ClipperUsageError: --slo ne peut pas valoir « 1h ». Solution : "
        "Donnez un nombre et son unité : 100ms, 0.5s, 20000us.",
    ),
    (
        "%clipper register a --input-type doubles --default-output x",
        "one-of",
        "ClipperUsageError: Either --slo or --slo-micros is needed, and not both. Fix: Write one of them.",
        "ClipperUsageError: Il faut soit --slo, soit --slo-micros, mais pas les deux. Solution : "
        "Écrivez l’un des deux.",
    ),
    (
        "%clipper register hello-world --input-type strings --default-output -1.0 --slo 100ms",
        "app-differs",
        "AlreadyRegisteredError: Application hello-world is registered with other settings: "
        "input_type: 'doubles' → 'strings'. Fix: %clipper unregister hello-world first, or use another name.",
        "AlreadyRegisteredError: L’application hello-world est enregistrée avec d’autres réglages : "
        "input_type: 'doubles' → 'strings'. Solution : %clipper unregister hello-world d’abord, ou prenez un autre "
        "nom.",
    ),
    (
        "%clipper app helo-world",
        "no-app-near",
        "NotRegisteredError: No application with name 'helo-world' exists. Fix: Did you mean 'hello-world'?",
        "NotRegisteredError: Aucune application ne s’appelle « helo-world ». Solution : "
        "Vouliez-vous dire « hello-world » ?",
    ),
    (
        "%clipper link hello-world sum_model",
        "no-model-near",
        "NotRegisteredError: No model with name 'sum_model' exists. Fix: Did you mean 'sum-model'?",
        "NotRegisteredError: Aucun modèle ne s’appelle « sum_model ». Solution : Vouliez-vous dire « sum-model » ?",
    ),
    (
        "%clipper version sum-model 7",
        "no-version",
        "NotRegisteredError: Model sum-model has no version '7'. Fix: Choose one of the deployed versions: 1, 2.",
        "NotRegisteredError: Le modèle sum-model n’a pas de version « 7 ». Solution : Choisissez parmi les versions "
        "déployées : 1, 2.",
    ),
    (
        "%clipper replicas sum-model -1",
        "bad-number",
        "ClipperUsageError: N cannot be '-1'. Fix: Give a number, >= 0.",
        "ClipperUsageError: N ne peut pas valoir « -1 ». Solution : Donnez un nombre : >= 0.",
    ),
    (
        "%clipper predict hello-world [1, 2",
        "unclosed",
        "ClipperUsageError: [ is opened and never closed. Fix: Close it; put text that contains it between the other "
        "kind of quotes.",
        "ClipperUsageError: [ est ouvert et jamais fermé. Solution : Fermez-le ; un texte qui le contient se met entre "
        "guillemets de l’autre sorte.",
    ),
    (
        "%clipper addr somewhere",
        "bad-choice",
        "ClipperUsageError: WHICH cannot be 'somewhere'. Fix: Choose one of query, metric, admin.",
        "ClipperUsageError: WHICH ne peut pas valoir « somewhere ». Solution : Choisissez parmi query, metric, admin.",
    ),
    (
        "%clipper deploy sum-model --func feature_sun",
        "function-not-found-near",
        "ClipperUsageError: There is no function 'feature_sun' in this notebook. Fix: Did you mean 'feature_sum'?",
        "ClipperUsageError: Il n’y a pas de fonction « feature_sun » dans ce notebook. Solution : "
        "Vouliez-vous dire « feature_sum » ?",
    ),
    (
        "%clipper deploy other --func feature_sum",
        "input-type-needed",
        "ClipperUsageError: Which input type does other take? Fix: Add --input-type doubles (or integers, floats, "
        "bytes, strings, json).",
        "ClipperUsageError: Quel type d’entrée other prend-il ? Solution : Ajoutez --input-type doubles (ou integers, "
        "floats, bytes, strings, json).",
    ),
    (
        "%clipper deploy sum-model:1 --func feature_sum",
        "version-is-immutable",
        "AlreadyRegisteredError: Model sum-model:1 is deployed with other content, and versions are immutable. Fix: "
        "Leave ':1' out to get the next version, or %clipper stop sum-model:1 first.",
        "AlreadyRegisteredError: Le modèle sum-model:1 est déployé avec un autre contenu, et une version ne change "
        "pas. Solution : Omettez « :1 » pour obtenir la version suivante, ou %clipper stop sum-model:1 d’abord.",
    ),
    (
        "%clipper deploy other --func feature_sum --app hello-world",
        "app-has-model",
        "LinkError: Application hello-world is linked to model sum-model, and can have only one. Fix: "
        "%clipper unlink hello-world sum-model first.",
        "LinkError: L’application hello-world est déjà liée au modèle sum-model, et ne peut en avoir qu’un. Solution : "
        "%clipper unlink hello-world sum-model d’abord.",
    ),
    (
        "%clipper deploy Bad_Name --func feature_sum --input-type doubles",
        "bad-model-name",
        "InvalidNameError: Invalid value: Bad_Name: a model name must consist of lower case letters, digits and '-', "
        "and start and end with a letter or digit. Fix: Call it 'bad-name'.",
        "InvalidNameError: Valeur refusée, Bad_Name : un nom de modèle se compose de minuscules, de chiffres et de "
        "« - », et commence et finit par une lettre ou un chiffre. Solution : Appelez-le « bad-name ».",
    ),
    (
        "%clipper build other /nowhere",
        "version-needed",
        "ClipperUsageError: Which version of other? Fix: Write other:1.",
        "ClipperUsageError: Quelle version du modèle other ? Solution : Écrivez other:1.",
    ),
    (
        "%clipper replica sum-model 7",
        "no-replica",
        "NotRegisteredError: Model sum-model:2 has no replica 7. Fix: %clipper replicas lists them.",
        "NotRegisteredError: Le modèle sum-model:2 n’a pas de réplique 7. Solution : %clipper replicas les énumère.",
    ),
    (
        "%clipper lang de",
        "bad-choice",
        "ClipperUsageError: lang cannot be 'de'. Fix: Choose one of auto, en, fr.",
        "ClipperUsageError: lang ne peut pas valoir « de ». Solution : Choisissez parmi auto, en, fr.",
    ),
    (
        "%clipper_deploy sum-model",
        "cell-wanted",
        "ClipperUsageError: %%clipper_deploy needs the cell with the function below it. Fix: Write %%clipper_deploy "
        "NAME in the first line of the cell; %clipper deploy NAME --func F deploys a function from another cell.",
        "ClipperUsageError: %%clipper_deploy attend, sous sa ligne, la cellule qui contient la fonction. Solution : "
        "Écrivez %%clipper_deploy NAME en première ligne de la cellule ; %clipper deploy NAME --func F déploie une "
        "fonction d’une autre cellule.",
    ),
    (
        "%%clipper apps\nx = 1",
        "no-cell-wanted",
        "ClipperUsageError: %clipper commands take one line, not a cell. Fix: Use one % sign; %%clipper_deploy is the "
        "magic for cells.",
        "ClipperUsageError: Les commandes %clipper prennent une ligne, pas une cellule. Solution : N’écrivez qu’un "
        "seul « % » ; %%clipper_deploy est la commande des cellules.",
    ),
    (
        "%%clipper_deploy sum-model\nx = 1",
        "no-function-in-cell",
        "ClipperUsageError: This cell defines no function. Fix: Define one that takes a list of inputs and returns a "
        "list of the same length, or name one with --func.",
        "ClipperUsageError: Cette cellule ne définit aucune fonction. Solution : Définissez-en une qui prend une liste "
        "d’entrées et renvoie une liste de même longueur, ou nommez-la avec --func.",
    ),
    (
        "%%clipper_deploy sum-model\ndef a(xs): return xs\ndef b(xs): return a(xs)",
        "several-functions",
        "ClipperUsageError: This cell defines several functions: a, b. Fix: Say which one is the model: --func b.",
        "ClipperUsageError: Cette cellule définit plusieurs fonctions : a, b. Solution : Dites laquelle est le "
        "modèle : --func b.",
    ),
    (
        "%%clipper_deploy sum-model\ndef a(xs): return xs xs",
        "cell-syntax",
        "ClipperUsageError: The cell is not valid Python, line 1: invalid syntax. Fix: Correct that line.",
        "ClipperUsageError: La cellule n’est pas du Python valide, ligne 1 : invalid syntax. Solution : "
        "Corrigez cette ligne.",
    ),
]


def plain(text: str) -> str:
    return text.replace("\u00a0", " ").replace("\u202f", " ")


@pytest.fixture
def ready(serving: Shell) -> Shell:
    serving.run("def feature_sum(xs): return [sum(x) for x in xs]")
    return serving


@pytest.mark.parametrize("language", ["en", "fr"])
@pytest.mark.parametrize(("cell", "code", "english", "french"), MESSAGES, ids=lambda v: str(v)[:30])
def test_the_message(
    ready: Shell, capsys: pytest.CaptureFixture[str], cell: str, code: str, english: str, french: str, language: str
) -> None:
    ready.run(f"%clipper lang {language};")
    capsys.readouterr()
    with pytest.raises(ClipperException) as caught:
        ready.run(cell)
    shown = capsys.readouterr().out

    assert caught.value.code == code
    assert plain(shown).splitlines()[-1] == (english if language == "en" else french)
    assert "Traceback (most recent call last)" not in shown
    assert len(shown.splitlines()[-1]) <= TWO_ROWS + 20
    assert str(caught.value).startswith(english.partition(": ")[2].partition(" Fix: ")[0])


@pytest.mark.parametrize("language", ["en", "fr"])
@pytest.mark.parametrize(
    "name", sorted(name for name, c in REGISTRY.items() if c.is_line and name not in ("help", "lang"))
)
def test_no_command_shows_a_traceback_without_a_cluster(
    shell: Shell, capsys: pytest.CaptureFixture[str], name: str, language: str
) -> None:
    """Every command that needs a cluster says that there is none; the others work, or say what is missing."""
    shell.run(f"%clipper lang {language};\ndef f(xs): return xs")
    arguments = {
        "register": "a --input-type ints --default-output 0 --slo 1s", "unregister": "a", "app": "a", "link": "a m",
        "unlink": "a m", "linked": "a", "deploy": "m --func f --input-type ints", "build": "m:1 .",
        "endpoint": "m --func f --input-type ints", "test": "f [1] --input-type ints", "model": "m", "version": "m",
        "deploy-image": "m:1 i --input-type ints", "register-model": "m:1 --input-type ints", "rollback": "m",
        "replicas": "m 2", "replica": "m 0", "predict": "a [1]", "stop": "m",
    }  # fmt: skip
    works_alone = {"start", "doctor", "test"}
    cell = f"%clipper {name} {arguments.get(name, '')};"
    capsys.readouterr()
    if name in works_alone:
        shell.run(cell)
        return
    with pytest.raises(ClipperException) as caught:
        shell.run(cell)

    assert caught.value.code == "no-cluster"
    assert len(capsys.readouterr().out.splitlines()) == 1


LINE_COMMANDS = sorted(name for name, command in REGISTRY.items() if command.is_line)


@pytest.mark.parametrize("language", ["en", "fr"])
@pytest.mark.parametrize("name", LINE_COMMANDS)
def test_every_command_refuses_a_bad_option_in_two_rows(
    ready: Shell, capsys: pytest.CaptureFixture[str], name: str, language: str
) -> None:
    ready.run(f"%clipper lang {language};")
    capsys.readouterr()
    with pytest.raises(ClipperException) as caught:
        ready.run(f"%clipper {name} --no-such-option 1")
    [line] = capsys.readouterr().out.splitlines()

    assert (caught.value.code, "--no-such-option" in line) == ("unknown-option", True)
    assert len(line) <= TWO_ROWS


UNKNOWN_NAMES = {
    "unregister nobody": "no-app", "app nobody": "no-app", "link nobody sum-model": "no-app",
    "link hello-world nobody": "no-model", "unlink nobody sum-model": "no-app", "unlink hello-world nobody": "no-model",
    "linked nobody": "no-app", "deploy other --func feature_sum --app nobody": "no-app", "model nobody": "no-model",
    "deploy other --func nobody": "function-not-found", "endpoint other --func nobody --input-type d":
    "function-not-found", "test nobody [1] --input-type d": "function-not-found", "version nobody": "no-model",
    "version nobody 1": "no-model", "rollback nobody": "no-model", "replicas nobody": "no-model",
    "replicas nobody 2": "no-model", "replica nobody 0": "no-model", "predict nobody [1]": "no-app",
    "logs nobody": "no-model", "logs nobody --errors": "no-model", "stop nobody": "no-model",
    "stop sum-model:7": "no-version", "stop --inactive nobody": "no-model", "model sum-model:7": "no-version",
    "help nobody": "unknown-command", "predict hello-world [1] --version 7": "no-version",
}  # fmt: skip


@pytest.mark.parametrize("language", ["en", "fr"])
@pytest.mark.parametrize("line", UNKNOWN_NAMES)
def test_every_command_refuses_an_unknown_name_in_two_rows(
    ready: Shell, capsys: pytest.CaptureFixture[str], line: str, language: str
) -> None:
    ready.run(f"%clipper lang {language};")
    capsys.readouterr()
    with pytest.raises(ClipperException) as caught:
        ready.run(f"%clipper {line}")
    [said] = capsys.readouterr().out.splitlines()

    assert caught.value.code == UNKNOWN_NAMES[line]
    assert len(said) <= TWO_ROWS


@pytest.mark.parametrize(
    ("language", "line"),
    [
        (
            "en",
            "NoClusterError: No Clipper cluster named 'default-cluster' is running here. Fix: %clipper start starts "
            "one; %clipper connect --cluster NAME finds another.",
        ),
        (
            "fr",
            "NoClusterError: Aucune grappe Clipper nommée « default-cluster » ne tourne ici. Solution : %clipper start "
            "en démarre une ; %clipper connect --cluster NAME en trouve une autre.",
        ),
    ],
)
def test_a_magic_is_told_magics_and_python_is_told_python(
    shell: Shell, capsys: pytest.CaptureFixture[str], language: str, line: str
) -> None:
    shell.run(f"%clipper lang {language};")
    capsys.readouterr()
    with pytest.raises(ClipperException, match=r"start_clipper\(\)"):
        shell.run("%clipper apps")

    assert plain(capsys.readouterr().out).strip() == line


def test_a_missing_import_is_said_in_two_rows(serving: Shell, world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.death = (
        "  File \"x.py\", line 2, in predict\n    import xgboost\nModuleNotFoundError: No module named 'xgboost'\n"
        f"ModelLoadError: {IMPORT_ERROR} (ModuleNotFoundError: No module named 'xgboost')"
    )
    with pytest.raises(ClipperException):
        serving.run("%%clipper_deploy sum-model\ndef f(xs): return [1 for x in xs]")
    line = capsys.readouterr().out.splitlines()[-1]

    assert line == (
        "ReplicaStartError: Replica 0 of model sum-model:3 ended with exit code 3 before it was ready. Last log lines: "
        "ModuleNotFoundError: No module named 'xgboost'. Fix: Correct the function, or add what it imports with "
        "--pkgs; nothing else was changed."
    )


def test_debug_shows_the_traceback(shell: Shell, capsys: pytest.CaptureFixture[str]) -> None:
    shell.run("%config Clipper.debug = True")
    with pytest.raises(ClipperException):
        shell.run("%clipper strat")

    assert "Traceback (most recent call last)" in capsys.readouterr().out


def test_a_setting_that_is_wrong_is_one_line_too(shell: Shell, capsys: pytest.CaptureFixture[str]) -> None:
    shell.run("%config Clipper.lang = 'de'")
    with pytest.raises(ClipperException):
        shell.run("%clipper apps")

    assert capsys.readouterr().out == (
        "ClipperUsageError: Clipper.lang cannot be 'de'. Fix: Choose one of auto, en, fr.\n"
    )


def test_an_error_that_is_not_ours_is_never_hidden(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clipper_magic.commands.doctor._disk", lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError) as caught:
        shell.run("%clipper doctor")

    assert not hasattr(caught.value, "_render_traceback_")


def test_python_code_can_catch_the_error(serving: Shell) -> None:
    serving.run(
        "from clipper_magic import ClipperException\n"
        "try:\n    %clipper app nobody\nexcept ClipperException as exc:\n    code = exc.code"
    )

    assert serving.ip.user_ns["code"] == "no-app"
