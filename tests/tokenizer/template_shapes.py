"""Chat templates that take messages in shapes of their own, in short wording of ours."""

DEEPSEEK = """\
{%- set ns = namespace(system='') -%}
{%- for message in messages if message.role == 'system' -%}{%- set ns.system = message.content -%}{%- endfor -%}
{{- ns.system -}}
{%- for message in messages -%}
{%- if message.role == 'user' -%}{{- '<|User|>' + message.content -}}
{%- elif message.role == 'tool' -%}{{- '<|output|>' + message.content + '<|/output|>' -}}
{%- endif -%}
{%- if message.role == 'assistant' and message.tool_calls -%}
{%- for call in message.tool_calls -%}
{{- '<|call|>' + call.type + '<|sep|>' + call.function.name + ' ' + call.function.arguments + '<|/call|>' -}}
{%- endfor -%}
{%- endif -%}
{%- if message.role == 'assistant' and message.content is not none -%}
{{- '<|Assistant|>' + message.content + '<|end|>' -}}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|Assistant|>' -}}{%- endif -%}
"""
"""Arguments are JSON text, content beside calls is none, of system messages the last one counts, tools are dropped."""

CONTENT_IS_NONE = """\
{%- for message in messages -%}
{{- '<' + message.role + '>' -}}
{%- if message.role == 'assistant' and message.content is none -%}
{%- for call in message.tool_calls -%}{{- 'CALL ' + call.function.name -}}{%- endfor -%}
{%- else -%}{{- message.content -}}{%- endif -%}
{%- endfor -%}<assistant>"""
"""Calls are written where content is none, and only their names."""

MISTRAL = """\
{{- bos_token -}}
{%- if messages[0].role == 'system' -%}
{%- set system, turns = messages[0].content, messages[1:] -%}
{%- else -%}{%- set system, turns = '', messages -%}{%- endif -%}
{%- set ns = namespace(at=0) -%}
{%- for turn in turns if turn.role in ('user', 'assistant') and not turn.tool_calls -%}
{%- if (turn.role == 'user') != (ns.at % 2 == 0) -%}{{- raise_exception('roles must alternate') -}}{%- endif -%}
{%- set ns.at = ns.at + 1 -%}
{%- endfor -%}
{%- for turn in turns -%}
{%- if turn.role == 'user' -%}
{%- if tools and loop.last -%}{{- '[TOOLS]' + (tools | tojson) + '[/TOOLS]' -}}{%- endif -%}
{{- '[INST]' + (system + ' ' if loop.first and system else '') + turn.content + '[/INST]' -}}
{%- elif turn.tool_calls -%}
{%- for call in turn.tool_calls -%}
{%- if call.id is not defined or call.id | length != 9 -%}{{- raise_exception('ids have 9 characters') -}}{%- endif -%}
{{- '[CALL]' + (call.function | tojson) + call.id -}}
{%- endfor -%}{{- eos_token -}}
{%- elif turn.role == 'assistant' -%}{{- turn.content + eos_token -}}
{%- elif turn.role == 'tool' -%}
{%- if turn.tool_call_id | length != 9 -%}{{- raise_exception('ids have 9 characters') -}}{%- endif -%}
{{- '[RESULT]' + turn.content + turn.tool_call_id + '[/RESULT]' -}}
{%- else -%}{{- raise_exception('only user, assistant and tool') -}}
{%- endif -%}
{%- endfor -%}
"""
"""Roles alternate, ids of calls have nine characters, a system message stands at the beginning alone."""

GEMMA = """\
{{- bos_token -}}
{%- if messages[0].role == 'system' -%}{{- raise_exception('System role not supported') -}}{%- endif -%}
{%- for message in messages -%}
{%- if (message.role == 'user') != (loop.index0 % 2 == 0) -%}
{{- raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') -}}
{%- endif -%}
{{- '<turn>' + ('model' if message.role == 'assistant' else message.role) + ' ' + message.content | trim + '</turn>' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<turn>model ' -}}{%- endif -%}
"""
"""No system role, alternating roles, no tools."""

LLAMA = """\
{{- bos_token -}}
{%- for message in messages -%}
{%- if message.tool_calls -%}
{%- if message.tool_calls | length != 1 -%}{{- raise_exception('only single tool-calls at once!') -}}{%- endif -%}
{%- set call = message.tool_calls[0].function -%}
{{- '<h>assistant</h>{"name": "' + call.name + '", "parameters": ' + (call.arguments | tojson) + '}<e>' -}}
{%- elif message.role in ('tool', 'ipython') -%}
{{- '<h>ipython</h>' + (message.content if message.content is string else message.content | tojson) + '<e>' -}}
{%- else -%}
{%- if message.role == 'user' and tools and loop.last -%}{{- tools | tojson -}}{%- endif -%}
{{- '<h>' + message.role + '</h>' + message.content | trim + '<e>' -}}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<h>assistant</h>' -}}{%- endif -%}
"""
"""One call a message, and no text beside it."""

PARTS = """\
{%- for message in messages -%}
{{- '<' + message.role + '>' -}}
{%- for part in message.content if part.type == 'text' -%}{{- part.text -}}{%- endfor -%}
{%- endfor -%}<assistant>"""
"""Content is a list of parts."""

NAMED_RESULTS = """\
{%- for message in messages -%}
{%- if message.role == 'tool' -%}{{- '<result of ' + message.name + '>' + message.content -}}
{%- elif message.tool_calls -%}
{%- for call in message.tool_calls -%}
{{- '<' + call.function.name + '>' -}}
{%- for key, value in call.function.arguments.items() -%}{{- key + '=' + value | string -}}{%- endfor -%}
{%- endfor -%}
{%- else -%}{{- '<' + message.role + '>' + message.content -}}{%- endif -%}
{%- endfor -%}
{%- if tools -%}{%- for tool in tools -%}{{- tool.name + ': ' + tool.description -}}{%- endfor -%}{%- endif -%}"""
"""Results say whose they are, arguments are walked, tools are bare functions."""
