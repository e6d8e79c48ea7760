// The tool that is measured, as the TypeScript SDK's documentation makes a stateless server: no authentication, no
// guards, a server and a transport for each request. Arguments: host, port, the platform's URL.
import { createServer } from "node:http";
import { McpServer } from "@modelcontextprotocol/sdk/server/mcp.js";
import { StreamableHTTPServerTransport } from "@modelcontextprotocol/sdk/server/streamableHttp.js";
import { z } from "zod";

const [host, port, url] = process.argv.slice(2);

const inputSchema = {
  path: z.string().max(1024).default("").describe("The mount followed by the folder in it, such as `secret/apps`. With `mount`, the folder in that mount."),
  mount: z.string().min(1).max(512).optional().describe("Mount, if it should not be found by the path."),
  depth: z.number().int().min(1).max(4).optional().describe("Levels of folders to go down, 1 to 4; 1 if left out. Each folder costs a request, of which there are 50 at most."),
  limit: z.number().int().min(1).max(1000).optional().describe("Entries of one answer: 1 to 1000, 200 if left out."),
  cursor: z.string().optional().describe("`next_cursor` of the answer before."),
};
const outputSchema = {
  items: z.array(z.string()).describe("The entries, in a stable order."),
  truncated: z.boolean().describe("Whether there are more."),
  next_cursor: z.string().optional().describe("Pass this as `cursor` to go on; absent on the last page."),
  hints: z.array(z.string()).optional().describe("What to know or to try, above all when the list is empty."),
};

async function list({ path }) {
  if (!path.startsWith("secret/")) throw new Error("unknown mount");
  const answer = await fetch(`${url}/v1/secret/metadata/${path.slice("secret/".length)}/?list=true`, {
    headers: { "x-vault-token": "bench" },
  });
  const { data } = await answer.json();
  const page = { items: data.keys, truncated: false };
  return { content: [{ type: "text", text: JSON.stringify(page) }], structuredContent: page };
}

function connector() {
  const server = new McpServer({ name: "bench", version: "0.0.0" });
  server.registerTool(
    "list_vault_secrets",
    {
      title: "Secrets below a path",
      description:
        "Lists the names of secrets and folders below a path of a KV engine. Folders end in a slash. depth above 1 also lists what is in them.",
      inputSchema,
      outputSchema,
      annotations: { readOnlyHint: true, idempotentHint: true },
    },
    list,
  );
  return server;
}

createServer(async (request, response) => {
  const server = connector();
  const transport = new StreamableHTTPServerTransport({ sessionIdGenerator: undefined, enableJsonResponse: true });
  response.on("close", () => {
    transport.close();
    server.close();
  });
  await server.connect(transport);
  await transport.handleRequest(request, response);
}).listen(Number(port), host);
