// The TypeScript SDK's client: connects, lists, calls, and prints what it was told as JSON.
import dns from "node:dns";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";

// Names of the cluster are not known outside of it.
const address = process.env.MCP_ADDRESS;
dns.lookup = (_name, options, done) => {
  const callback = done ?? options;
  return options?.all ? callback(null, [{ address, family: 4 }]) : callback(null, address, 4);
};

const transport = new StreamableHTTPClientTransport(new URL(process.env.MCP_URL), {
  requestInit: { headers: { Authorization: `Bearer ${process.env.MCP_TOKEN}` } },
});
const client = new Client({ name: "story", version: "1" });
await client.connect(transport);
const { tools } = await client.listTools();
const health = await client.callTool({ name: "get_vault_health", arguments: {} });
const secrets = await client.callTool({ name: "list_vault_secrets", arguments: { path: "secret/apps" } });
console.log(
  JSON.stringify({
    server: client.getServerVersion(),
    protocolVersion: transport.protocolVersion,
    tools,
    health: health.structuredContent,
    secrets: secrets.structuredContent,
  }),
);
await client.close();
