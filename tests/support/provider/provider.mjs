// An identity provider for the tests: oidc-provider with its own forms for logging in and consenting. `node provider.mjs PORT CALLBACK`.
import Provider from "oidc-provider";

const [port, callback] = process.argv.slice(2);
const groups = { anna: ["ops", "staff"], boss: ["staff", "waggle-admins", "ops"], eve: ["others"], nobody: undefined };
const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients: [{
    client_id: "waggle",
    client_secret: "a+secret%of the client",
    redirect_uris: [callback],
    token_endpoint_auth_method: "client_secret_post",
  }],
  claims: { openid: ["sub"], profile: ["preferred_username"], groups: ["groups"] },
  scopes: ["openid", "profile", "groups"],
  cookies: { keys: ["of the tests"] },
  findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id, preferred_username: id, groups: groups[id] }) }),
});
provider.listen(Number(port), "127.0.0.1", () => console.log("ready"));
