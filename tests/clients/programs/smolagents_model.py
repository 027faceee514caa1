"""smolagents' OpenAIModel, on its own and in agents."""

# /// script
# dependencies = ["smolagents[openai]"]
# ///

from __future__ import annotations

import json
from typing import Any

from _steps import API_KEY, BASE_URL, MODEL, run
from smolagents import ChatMessage, CodeAgent, OpenAIModel, ToolCallingAgent, tool

model = OpenAIModel(
    model_id=MODEL, api_base=BASE_URL, api_key=API_KEY, max_tokens=300, client_kwargs={"max_retries": 0}
)
QUESTION = [ChatMessage(role="user", content=[{"type": "text", "text": "What is 17 + 25?"}])]


@tool
def weather(days: int) -> str:
    """The weather here.

    Args:
        days: how many days, from now on
    """
    return f"sunny for {days} days"


def chat() -> None:
    answer = model(QUESTION, max_tokens=20)
    assert answer.content and answer.token_usage.output_tokens > 0


def stream() -> None:
    assert "".join(part.content or "" for part in model.generate_stream(QUESTION, max_tokens=20))


def stop_sequences() -> None:
    answer = model.generate(QUESTION, stop_sequences=["Observation:", "Calling tools:"], max_tokens=20)
    assert isinstance(answer.content, str)


def tools() -> None:
    answer = model.generate(QUESTION, tools_to_call_from=[weather])
    call = answer.tool_calls[0].function
    assert call.name == "weather"
    arguments: Any = json.loads(call.arguments) if isinstance(call.arguments, str) else call.arguments
    assert "days" in arguments


def structured() -> None:
    """What CodeAgent asks for with use_structured_outputs_internally."""
    form: Any = {"type": "json_schema", "json_schema": {"name": "thought", "strict": True, "schema": {
        "type": "object", "required": ["thought", "code"], "additionalProperties": False,
        "properties": {"thought": {"type": "string", "maxLength": 12}, "code": {"type": "string", "maxLength": 12}},
    }}}  # fmt: skip
    answer = model.generate(QUESTION, response_format=form)
    assert set(json.loads(answer.content or "")) == {"thought", "code"}


def short(agent: Any) -> Any:
    """The agent with few words before the question: what it says of itself otherwise fills a small context."""
    agent.prompt_templates["system_prompt"] = "You are an agent."
    agent.memory.system_prompt.system_prompt = agent.initialize_system_prompt()
    return agent


def tool_calling_agent() -> None:
    """Its first step is a call, which is made; what comes then is the model's choice."""
    agent = short(ToolCallingAgent([weather], model, verbosity_level=0, max_steps=1))
    agent.run("What is the weather?")
    step = agent.memory.steps[1]
    assert step.error is None or "weather" in str(step.error) or "final_answer" in str(step.error), step.error
    assert step.tool_calls or step.model_output_message.tool_calls


def code_agent() -> None:
    """What a small model writes is no code, which the agent says; the server's part is to answer."""
    agent = short(CodeAgent([weather], model, verbosity_level=0, max_steps=1))
    agent.run("What is the weather?")
    assert agent.memory.steps[1].model_output


run(chat, stream, stop_sequences, tools, structured, tool_calling_agent, code_agent)
