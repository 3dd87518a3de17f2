"""``%clipper`` and ``%%clipper_deploy``: parse, dispatch, and turn errors into one line."""

from __future__ import annotations

from typing import Any

from IPython.core.magic import Magics, line_cell_magic, magics_class, output_can_be_silenced

from clipper_magic.commands import REGISTRY, boundary, speech
from clipper_magic.commands.deploy import DEPLOY_CELL
from clipper_magic.commands.grammar import Command, parse, split, usage
from clipper_magic.commands.session import Session
from clipper_magic.commands.tokens import Token
from clipper_magic.config import Clipper
from clipper_magic.exceptions import ClipperException, ClipperUsageError


@magics_class
class ClipperMagics(Magics):
    """The magics of one shell.

    Parameters
    ----------
    shell : InteractiveShell
    settings : Clipper
        What ``%config Clipper`` sets.
    """

    def __init__(self, shell: Any, settings: Clipper) -> None:
        super().__init__(shell)
        self.session = Session(shell, settings, REGISTRY)

    @line_cell_magic
    @output_can_be_silenced
    def clipper(self, line: str, cell: str | None = None) -> object:
        """Serve models from this notebook: ``%clipper help`` lists the commands."""
        __tracebackhide__ = True
        return self._guarded(self._dispatch, line, cell)

    @line_cell_magic
    @output_can_be_silenced
    def clipper_deploy(self, line: str, cell: str | None = None) -> object:
        """Deploy the function in this cell: ``%%clipper_deploy NAME[:VERSION] --input-type T``."""
        __tracebackhide__ = True
        return self._guarded(self._deploy, line, cell)

    def _dispatch(self, line: str, cell: str | None) -> object:
        __tracebackhide__ = True
        if cell is not None:
            raise ClipperUsageError.of("no-cell-wanted")
        tokens = split(line.rstrip().removesuffix(";"))
        if not tokens or tokens[0].raw in ("--help", "-h"):
            self.session.area.say(speech.overview(REGISTRY, self.session.texts))
            return None
        line_commands = {name: command for name, command in REGISTRY.items() if command.is_line}
        command = line_commands.get(tokens[0].text)
        if command is None:
            raise speech.unknown_command(tokens[0].text, list(line_commands))
        return self._run(command, tokens[1:])

    def _deploy(self, line: str, cell: str | None) -> object:
        __tracebackhide__ = True
        tokens = split(line)
        if cell is None and not any(token.raw in ("--help", "-h") for token in tokens):
            raise ClipperUsageError.of("cell-wanted")
        return self._run(DEPLOY_CELL, tokens, cell=cell)

    def _run(self, command: Command, tokens: list[Token], **extra: object) -> object:
        __tracebackhide__ = True
        args = parse(command, tokens)
        vars(args).update(extra)
        if args.help:
            self.session.area.say(speech.page(command, self.session.texts))
            return None
        value = command.run(self.session, args)
        if args.output is not None:
            self.session.shell.push({args.output: value})
            return None
        return value

    def _guarded(self, work: Any, line: str, cell: str | None) -> object:
        """Run one command in its display area; an error of ours shows as one line, and still is an error."""
        __tracebackhide__ = True
        try:
            area = self.session.new_area()
        except ClipperException as exc:  # the settings themselves are wrong, their language perhaps
            boundary.hide_traceback(exc, boundary.one_line(exc, "en"))
            raise
        with area:
            try:
                return work(line, cell)
            except ClipperException as exc:
                boundary.make_brief(exc, self.session)
                raise
            except KeyboardInterrupt as exc:
                raise boundary.interrupted(exc, self.session) from None


# What `%clipper?` and `%%clipper_deploy?` show.
_USAGE = "\n".join(f"    {usage(command)}" for command in REGISTRY.values() if command.is_line)
ClipperMagics.clipper.__doc__ = f"{ClipperMagics.clipper.__doc__}\n\n{_USAGE}\n"
ClipperMagics.clipper_deploy.__doc__ = f"{ClipperMagics.clipper_deploy.__doc__}\n\n    {usage(DEPLOY_CELL)}\n"


def load_ipython_extension(shell: Any) -> None:
    """Register the magics, their settings and their completion: no I/O, no output, and harmless the second time."""
    if "ClipperMagics" in shell.magics_manager.registry:
        return
    from clipper_magic import completion

    settings = Clipper(parent=shell)
    magics = ClipperMagics(shell, settings)
    shell.configurables.append(settings)
    shell.register_magics(magics)
    completion.install(shell, magics.session)


def unload_ipython_extension(shell: Any) -> None:
    """Take the magics away, end the panel's thread; the cluster keeps running."""
    from clipper_magic import completion

    magics = shell.magics_manager.registry.pop("ClipperMagics", None)
    if magics is None:
        return
    magics.session.freeze_panel()
    completion.uninstall(shell)
    shell.configurables.remove(magics.session.settings)
    for kind, name in (
        ("line", "clipper"),
        ("cell", "clipper"),
        ("line", "clipper_deploy"),
        ("cell", "clipper_deploy"),
    ):
        shell.magics_manager.magics[kind].pop(name, None)
