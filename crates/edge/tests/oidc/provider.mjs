// An OpenID provider on a free port, with its own pages for logging in and consent. Prints its address; ends with its input.
import { createServer } from "node:http";
import { Provider } from "oidc-provider";

const [origin] = process.argv.slice(2);
const server = createServer();
server.listen(0, "127.0.0.1", () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const provider = new Provider(issuer, {
    clients: [
      {
        client_id: "app",
        client_secret: "secret of app, & more: %",
        redirect_uris: [`${origin}/.auth/callback`],
        post_logout_redirect_uris: [`${origin}/bye`],
        grant_types: ["authorization_code", "refresh_token"],
      },
    ],
    cookies: { keys: ["a key of cookies"] },
    claims: { openid: ["sub"], profile: ["name", "groups"] },
    conformIdTokenClaims: false,
    scopes: ["openid", "offline_access", "profile"],
    pkce: { required: () => true },
    rotateRefreshToken: true,
    ttl: { AccessToken: 10, IdToken: 3600, RefreshToken: 86400 },
    features: { devInteractions: { enabled: true }, rpInitiatedLogout: { enabled: true } },
    findAccount: (_, id) => ({
      accountId: id,
      claims: () => ({
        sub: id,
        name: `Name of ${id}`,
        groups: id === "admin" ? ["staff", "admin"] : ["staff"],
        // Makes the session longer than one cookie.
        ...(id === "long" ? { name: "x".repeat(4500) } : {}),
      }),
    }),
  });
  server.on("request", provider.callback());
  console.log(issuer);
});
process.stdin.resume();
process.stdin.on("end", () => process.exit(0));
