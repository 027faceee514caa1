"""Chat templates: where a folder keeps them, and their rendering, with every failure as one sentence."""

from __future__ import annotations

import os
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftllm_nb.errors import TokenizerError
from ftllm_nb.tokenizer.added_tokens import shorten
from ftllm_nb.tokenizer.settings import read_json_object

if TYPE_CHECKING:
    import jinja2

    from ftllm_nb.tokenizer.template_environment import ChatTemplateEnvironment

MAX_TEMPLATE_BYTES = 2 * 2**20


class ChatTemplate:
    """One jinja2 template, compiled at its first use. `where` names its file in error sentences.

    `leaves_beginning`: its author may have left out the beginning of the sequence, for the engine to put it there.
    """

    def __init__(self, source: str, where: str, *, leaves_beginning: bool = False) -> None:
        self.source = source
        self.where = where
        self.leaves_beginning = leaves_beginning
        self._compiled: tuple[ChatTemplateEnvironment, jinja2.Template] | None = None

    def render(self, variables: dict[str, Any]) -> str:
        """The prompt text; TokenizerError where the template is wrong, raises or takes too much."""
        import jinja2

        from ftllm_nb.tokenizer.template_environment import TemplateLimitError, TemplateRaisedError

        environment, template = self._compile()
        try:
            return environment.render_within_limits(template, variables)
        except TemplateRaisedError as error:
            raise TokenizerError(
                f"the chat template refuses this conversation: {_sentence(error)}."
            ) from error
        except TemplateLimitError as error:
            raise TokenizerError(
                f"{self.where}: the chat template is stopped: {_sentence(error)}."
            ) from error
        except jinja2.exceptions.SecurityError as error:
            raise TokenizerError(
                f"{self.where}: the chat template does what the sandbox forbids: {_sentence(error)}."
            ) from error
        except (RecursionError, MemoryError) as error:
            raise TokenizerError(
                f"{self.where}: the chat template is stopped: it takes too much memory or recursion."
            ) from error
        except (
            Exception
        ) as error:  # a template is a program: anything that it does wrong is the template's fault
            line = _template_line(error)
            raise TokenizerError(
                f"{self.where}: the chat template fails on this conversation"
                f"{f' in line {line}' if line else ''}: {_sentence(error)}."
            ) from error

    def _compile(self) -> tuple[ChatTemplateEnvironment, jinja2.Template]:
        if self._compiled is None:
            import jinja2

            from ftllm_nb.tokenizer.template_environment import ChatTemplateEnvironment

            environment = ChatTemplateEnvironment()
            try:
                self._compiled = environment, environment.from_string(self.source)
            except jinja2.TemplateSyntaxError as error:
                raise TokenizerError(
                    f"{self.where}: the chat template has a syntax error in line {error.lineno}: "
                    f"{_sentence(error)}."
                ) from error
            except (
                Exception
            ) as error:  # e.g. an unknown filter, nesting too deep, a constant that cannot be folded
                raise TokenizerError(
                    f"{self.where}: the chat template cannot be compiled: {_sentence(error)}."
                ) from error
        return self._compiled


def find_chat_templates(folder: Path, tokenizer_config: dict[str, Any]) -> dict[str, ChatTemplate]:
    """The folder's templates by name ("default" for an unnamed one), {} where it has none.

    The files chat_template.jinja and additional_chat_templates/*.jinja go before `chat_template` in
    tokenizer_config.json, and that before chat_template.json.
    """
    files = {"default": folder / "chat_template.jinja"}
    extra_folder = folder / "additional_chat_templates"
    if extra_folder.is_dir():
        files.update({file.stem: file for file in sorted(extra_folder.glob("*.jinja"))})
    from_files = {
        name: ChatTemplate(_read(file), str(file)) for name, file in files.items() if file.is_file()
    }
    if from_files:
        return from_files
    where = folder / "tokenizer_config.json"
    value = tokenizer_config.get("chat_template")
    if value is None:
        where = folder / "chat_template.json"
        value = read_json_object(where).get("chat_template")
    return _templates_of(value, str(where))


def given_chat_template(given: str | PathLike[str]) -> ChatTemplate:
    """The template that a caller names: its text, or the path of a file that holds it."""
    if isinstance(given, str) and ("{%" in given or "{{" in given):
        return _sound(ChatTemplate(given, "chat_template"))
    try:
        file = Path(os.path.expanduser(given))
    except TypeError:
        raise TokenizerError(f"chat_template must be a template or a file's path, not {shorten(given)}.") from None
    if not file.is_file():
        raise TokenizerError(f"chat_template: {file} is no file, and no template either, which holds {{{{ }}}}.")
    return _sound(ChatTemplate(_read(file), str(file)))


def _sound(template: ChatTemplate) -> ChatTemplate:
    """The template, if it can be compiled; a folder's own is compiled when it is needed."""
    template._compile()
    return template


def choose_template(templates: dict[str, ChatTemplate], with_tools: bool) -> ChatTemplate | None:
    """The template for a conversation: "tool_use" with tools, else "default", else the only one."""
    if with_tools and "tool_use" in templates:
        return templates["tool_use"]
    if "default" in templates or len(templates) < 2:
        return templates.get("default", next(iter(templates.values()), None))
    names = ", ".join(sorted(templates))
    raise TokenizerError(f"the model has several chat templates and none is called default: {names}.")


def _templates_of(value: object, where: str) -> dict[str, ChatTemplate]:
    if value is None:
        return {}
    if isinstance(value, str):
        return {"default": ChatTemplate(value, where)}
    entries = list(value.items()) if isinstance(value, dict) else []
    if isinstance(value, list) and all(isinstance(entry, dict) for entry in value):
        entries = [(entry.get("name"), entry.get("template")) for entry in value]
    if entries and all(isinstance(name, str) and isinstance(source, str) for name, source in entries):
        return {name: ChatTemplate(source, where) for name, source in entries}
    raise TokenizerError(
        f"{where}: chat_template must be a template or a list of {{name, template}}, got {shorten(value)}."
    )


def _read(file: Path) -> str:
    try:
        if file.stat().st_size > MAX_TEMPLATE_BYTES:
            raise TokenizerError(
                f"{file} is larger than {MAX_TEMPLATE_BYTES // 2**20} MB, which no template needs."
            )
        return file.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise TokenizerError(f"{file} cannot be read: {error}.") from error


def _sentence(error: BaseException) -> str:
    """The error's own message in one line, without a full stop; its class where it has none."""
    text = " ".join(str(error).split()).rstrip(".") or type(error).__name__
    return text if len(text) <= 500 else text[:499] + "…"


def _template_line(error: BaseException) -> int | None:
    """The template's line where `error` arose, from the traceback that jinja2 rewrites to template lines."""
    line, traceback = None, error.__traceback__
    while traceback is not None:
        if traceback.tb_frame.f_code.co_filename == "<template>":
            line = traceback.tb_lineno
        traceback = traceback.tb_next
    return line
