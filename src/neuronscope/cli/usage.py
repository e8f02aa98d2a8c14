"""What `--help` shows: arguments and values by readable names, options in groups, and examples."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand, TyperGroup

#: Options that every verb has, which stand last.
_LAST = ("out", "as_json", "quiet", "help")
_OUTPUT = "Output"
_OPTIONS = "Options"


class Verb(TyperCommand):
    """A verb."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """OPTIONS and the arguments: IMAGE, [IMAGE], IMAGE..."""
        arguments = [one for one in self.get_params(ctx) if one.param_type_name == "argument"]
        return ["[OPTIONS]", *(_named(one) for one in arguments)]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Arguments, the verb's own options, then what it shares with others, group by group."""
        groups: dict[str, list[tuple[str, str]]] = {"Arguments": [], _OPTIONS: []}
        last: list[tuple[str, str]] = []
        for one in self.get_params(ctx):
            record = one.get_help_record(ctx)
            if record is None:
                continue
            if one.param_type_name == "argument":
                groups["Arguments"].append((_named(one), record[1]))
            elif one.name in _LAST:
                last.append(record)
            else:
                groups.setdefault(getattr(one, "rich_help_panel", None) or _OPTIONS, []).append(record)
        for heading, records in {**groups, _OUTPUT: last}.items():
            if records:
                with formatter.section(heading):
                    formatter.write_dl(records)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Examples, each on its line as it is typed."""
        if self.epilog:
            with formatter.section("Examples"):
                for line in self.epilog.splitlines():
                    formatter.write(f"{' ' * formatter.current_indent}{line}\n")


class Verbs(TyperGroup):
    """A group of verbs, under headings."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Every verb with its sentence."""
        groups: dict[str, list[Any]] = {}
        for name in self.list_commands(ctx):
            command: Any = self.get_command(ctx, name)
            groups.setdefault(getattr(command, "rich_help_panel", None) or "Commands", []).append((name, command))
        width = formatter.width - 6 - max(len(name) for name in self.commands)
        for heading, commands in groups.items():
            with formatter.section(heading):
                formatter.write_dl([(name, command.get_short_help_str(width)) for name, command in commands])

    format_epilog = Verb.format_epilog


def _named(argument: Any) -> str:
    name = argument.metavar or argument.name.upper()
    return (name if argument.required else f"[{name}]") + ("..." if argument.nargs != 1 else "")
