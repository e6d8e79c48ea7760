"""What an agent of LangChain has of connectors: their tools, as a model gets them, and the answer of one. Run by
`test_langchain.py` with LangChain's own packages; writes JSON to standard output.

    python langchain_agent.py URL... TOOL
"""

import asyncio
import json
import sys
from typing import Any

from langchain_core.messages import ToolCall
from langchain_core.utils.function_calling import convert_to_openai_tool
from langchain_mcp_adapters.client import MultiServerMCPClient


async def look(urls: list[str], wanted: str) -> dict[str, Any]:
    """The tools of each server, and what one answers that needs no arguments."""
    client = MultiServerMCPClient({str(at): {"transport": "streamable_http", "url": url} for at, url in enumerate(urls)})
    loaded = {url: await client.get_tools(server_name=str(at)) for at, url in enumerate(urls)}
    tool = next(tool for tools in loaded.values() for tool in tools if tool.name == wanted)
    answer = await tool.ainvoke(ToolCall(name=wanted, args={}, id="1", type="tool_call"))
    return {
        "tools": {url: [convert_to_openai_tool(tool)["function"] for tool in tools] for url, tools in loaded.items()},
        "answer": {"status": answer.status, "artifact": answer.artifact},
    }


if __name__ == "__main__":
    *urls, wanted = sys.argv[1:]
    json.dump(asyncio.run(look(urls, wanted)), sys.stdout)
