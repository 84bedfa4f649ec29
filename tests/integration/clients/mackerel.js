// What the npm client `mackerel` does against the address in argv[2] with the key in argv[3]: one JSON line of results.
const Mackerel = require("mackerel");

const [origin, key, time] = [process.argv[2], process.argv[3], Number(process.argv[4])];
const client = new Mackerel(key, { origin });
const body = async (call) => JSON.parse((await call).body);

async function run() {
  const made = await body(client.addHost({ name: "web-npm", meta: { kernel: { name: "Linux" } }, roleFullnames: ["shop:web"] }));
  const results = {
    made,
    host: await body(client.getHost(made.id)),
    hosts: await body(client.getHosts()),
    status: await body(client.modifyHostStatus(made.id, "maintenance")),
    roles: await body(client.modifyHostRole(made.id, ["shop:db"])),
    posted: await body(client.postMetrics([{ hostId: made.id, name: "loadavg5", time, value: 0.25 }])),
    postedOfService: await body(client.postServiceMetrics("shop", [{ name: "orders", time, value: 7 }])),
    names: await body(client.getHostMetrics(made.id)),
    services: await body(client.getServices()),
    rolesOfService: await body(client.getRoles("shop")),
    graphs: await body(client.setGraphDefinitions([{ name: "custom.npm", displayName: "npm", unit: "float", metrics: [] }])),
    checks: await body(
      client.postCheckReports({
        reports: [{ source: { type: "host", hostId: made.id }, name: "ping", status: "OK", message: "", occurredAt: time }],
      }),
    ),
    put: await body(client.modifyMetadata(made.id, "env", { a: [1, null] })),
    metadata: await body(client.getMetadata(made.id, "env")),
    deleted: await body(client.deleteMetadata(made.id, "env")),
    org: await body(client.getOrganization()),
    retired: await body(client.retireHost(made.id)),
    left: await body(client.getHosts()),
    unknownHost: await client.getHost("nobody").then(() => "found", () => "refused"),
    unknownKey: await new Mackerel("wrong", { origin }).getOrganization().then(() => "found", () => "refused"),
  };
  process.stdout.write(JSON.stringify(results) + "\n");
}

run().catch((error) => {
  process.stderr.write(`${error.stack}\n`);
  process.exit(1);
});
