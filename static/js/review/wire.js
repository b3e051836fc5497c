// One question to the server, and what became of it, in a word.
const PATIENCE = 20_000;

export const cookie = (name) => document.cookie.split("; ").find((part) => part.startsWith(`${name}=`))?.slice(name.length + 1) ?? "";

/** done, refused (with a sentence), login, out (no longer in the project) or unreached. */
export async function ask(url, body, csrf) {
  let response;
  try {
    response = await fetch(url, {
      method: "POST",
      body: JSON.stringify(body),
      headers: { "Content-Type": "application/json", "X-CSRFToken": cookie(csrf) },
      redirect: "manual", // to the login page
      keepalive: true, // whoever leaves right after a key press has decided
      signal: AbortSignal.timeout(PATIENCE),
    });
    const told = await read(response);
    return { became: meaning(response), told };
  } catch {
    return { became: "unreached", told: {} };
  }
}

function meaning(response) {
  if (response.ok) return "done";
  if (response.type === "opaqueredirect" || [401, 403].includes(response.status)) return "login";
  if (response.status === 404) return "out";
  const later = response.status >= 500 || [408, 429].includes(response.status);
  return later ? "unreached" : "refused";
}

async function read(response) {
  const isJson = response.headers.get("Content-Type")?.startsWith("application/json");
  return isJson ? response.json() : { error: `The server did not accept this (${response.status}).` };
}
