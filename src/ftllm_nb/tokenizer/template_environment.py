"""The jinja2 environment of chat templates: what transformers gives them, in a sandbox with limits.

A template is a stranger's program: the sandbox keeps it from Python's internals, and the limits keep a loop,
a repetition or a recursion from taking all time or memory. They are checked in every loop turn, concatenation
and call.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any, NoReturn

import jinja2
import jinja2.ext
import jinja2.nodes
import jinja2.parser
import jinja2.sandbox
from jinja2.visitor import NodeTransformer

MAX_OUTPUT_CHARACTERS = 32 * 2**20
LIST_ITEM_CHARACTERS = 64
"""How many characters of a text a list's item counts as."""
MAX_NUMBER = 10**9
"""Bound of repetitions, widths and exponents; results must also stay below MAX_OUTPUT_CHARACTERS."""
MAX_WIDTH = 10**6
MAX_SECONDS = 10.0


class TemplateLimitError(jinja2.TemplateError):
    """A template took more time or memory than any honest one needs."""


class TemplateRaisedError(jinja2.TemplateError):
    """A template called raise_exception(message)."""


class ChatTemplateEnvironment(jinja2.sandbox.ImmutableSandboxedEnvironment):
    """Loop controls, `{% generation %}`, tojson, raise_exception, strftime_now; blocks are trimmed."""

    intercepted_binops = frozenset({"*", "**", "+", "%"})

    def __init__(self) -> None:
        super().__init__(
            trim_blocks=True, lstrip_blocks=True, extensions=[jinja2.ext.loopcontrols, _GenerationTag]
        )
        self.filters["tojson"] = _tojson
        for name in ("center", "indent"):
            self.filters[name] = _checked_width(self.filters[name])
        self.filters["format"] = _format
        self.globals.pop("lipsum")
        self.globals["raise_exception"] = _raise_exception
        self.globals["strftime_now"] = _strftime_now
        self._deadline = float("inf")

    def render_within_limits(self, template: jinja2.Template, variables: dict[str, Any]) -> str:
        """The rendered text; TemplateLimitError past MAX_SECONDS or MAX_OUTPUT_CHARACTERS."""
        self._deadline = time.monotonic() + MAX_SECONDS
        pieces: list[str] = []
        length = 0
        for piece in template.generate(variables):
            length += len(piece)
            if length > MAX_OUTPUT_CHARACTERS:
                raise TemplateLimitError(f"its output passes {MAX_OUTPUT_CHARACTERS} characters")
            self.check_time()
            pieces.append(piece)
        return "".join(pieces)

    def check_time(self) -> str:
        """Stops a template that has run too long; "" so that it can stand in an output."""
        if time.monotonic() > self._deadline:
            raise TemplateLimitError(f"it runs for more than {MAX_SECONDS:.0f} seconds")
        return ""

    def concatenate(self, *values: Any) -> str:
        """The `~` operator."""
        texts = [str(value) for value in values]
        if sum(map(len, texts)) > MAX_OUTPUT_CHARACTERS:
            raise TemplateLimitError(f"a text passes {MAX_OUTPUT_CHARACTERS} characters")
        return "".join(texts)

    def call_binop(self, context: jinja2.runtime.Context, operator: str, left: Any, right: Any) -> Any:
        """`*`, `**`, `+` and `%`, refused where their result would be huge."""
        sizes = [len(one) for one in (left, right) if isinstance(one, str)]
        sizes += [len(one) * LIST_ITEM_CHARACTERS for one in (left, right) if isinstance(one, (list, tuple))]
        counts = [abs(one) for one in (left, right) if isinstance(one, int)]
        if operator == "*" and sizes and counts and sizes[0] * counts[0] > MAX_OUTPUT_CHARACTERS:
            raise TemplateLimitError("a repetition is too long")
        if operator == "+" and sum(sizes) > MAX_OUTPUT_CHARACTERS:
            raise TemplateLimitError(f"a text passes {MAX_OUTPUT_CHARACTERS} characters")
        if operator in ("*", "**") and any(count > MAX_NUMBER for count in counts):
            raise TemplateLimitError(f"a number passes {MAX_NUMBER}")
        if operator == "**" and counts and counts[-1] > 64:
            raise TemplateLimitError("an exponent is too large")
        if operator == "%" and isinstance(left, str):
            _check_format(left)
        return super().call_binop(context, operator, left, right)

    def call(__self, __context: jinja2.runtime.Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:
        """Calls of functions and methods, refused where a width or a count is huge (`"x".ljust(10**12)`)."""
        if any(isinstance(one, int) and one > MAX_OUTPUT_CHARACTERS for one in (*args, *kwargs.values())):
            raise TemplateLimitError("a call's argument is too large")
        return super().call(__context, __obj, *args, **kwargs)

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        """`"{:9}".format(x)`, refused where the width is huge."""
        wrapped = super().wrap_str_format(value)
        if wrapped is not None:
            _check_format(value.__self__)
        return wrapped

    def _parse(self, source: str, name: str | None, filename: str | None) -> jinja2.nodes.Template:
        tree = super()._parse(source, name, filename)
        limited: jinja2.nodes.Template = _LimitInserter().visit(tree)
        limited.set_environment(self)
        return limited


class _LimitInserter(NodeTransformer):
    """Puts check_time() first into the body of every loop and macro, and turns `~` into concatenate()."""

    def visit_For(self, node: jinja2.nodes.For) -> jinja2.nodes.For:
        self.generic_visit(node)
        node.body.insert(0, _check_time_statement(node.lineno))
        return node

    def visit_Macro(self, node: jinja2.nodes.Macro) -> jinja2.nodes.Macro:
        self.generic_visit(node)
        node.body.insert(0, _check_time_statement(node.lineno))
        return node

    def visit_Concat(self, node: jinja2.nodes.Concat) -> jinja2.nodes.Expr:
        self.generic_visit(node)
        return _call_environment("concatenate", node.nodes, node.lineno)


def _check_time_statement(line: int) -> jinja2.nodes.Stmt:
    return jinja2.nodes.ExprStmt(_call_environment("check_time", [], line), lineno=line)


def _call_environment(method: str, arguments: list[jinja2.nodes.Expr], line: int) -> jinja2.nodes.Call:
    target = jinja2.nodes.EnvironmentAttribute(method, lineno=line)
    return jinja2.nodes.Call(target, arguments, [], None, None, lineno=line)


class _GenerationTag(jinja2.ext.Extension):
    """`{% generation %}…{% endgeneration %}` marks text for training; here it prints its body."""

    tags = {"generation"}  # noqa: RUF012  (jinja2 declares it so)

    def parse(self, parser: jinja2.parser.Parser) -> jinja2.nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return jinja2.nodes.Scope(body, lineno=line)


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


def _raise_exception(message: Any) -> NoReturn:
    raise TemplateRaisedError(str(message))


def _strftime_now(format: str) -> str:
    return datetime.now().strftime(format)


def _checked_width(filter_function: Callable[..., Any]) -> Callable[..., Any]:
    """A filter that refuses a huge width."""

    def checked(value: Any, *args: Any, **kwargs: Any) -> Any:
        if any(isinstance(one, int) and one > MAX_WIDTH for one in (*args, *kwargs.values())):
            raise TemplateLimitError("a width is too large")
        return filter_function(value, *args, **kwargs)

    return checked


def _format(value: Any, *args: Any, **kwargs: Any) -> str:
    """The filter `"%s" | format(x)`."""
    _check_format(str(value))
    return str(str(value) % (kwargs or args))


def _check_format(format: str) -> None:
    """Refuses `"%1000000000d" % x`."""
    if any(int(digits) > MAX_WIDTH for digits in re.findall(r"[%:][^%{}a-zA-Z]*?(\d{1,20})", format)):
        raise TemplateLimitError("a format's width is too large")
