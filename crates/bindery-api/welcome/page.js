// The link's token stands behind `#`: browsers keep that to themselves, so no server or proxy on the way logs it. Paths are
// relative: they hold below a prefix that a proxy takes away, too.
const KINDS = {
  invitation: {
    path: "bindery/v1/invitations/",
    title: "You are invited",
    why: "Choose a password to accept the invitation.",
    done: "You are in.",
  },
  "password-reset": {
    path: "bindery/v1/password-resets/",
    title: "Choose a new password",
    why: "Your old password stays good until you save a new one.",
    done: "Your password is changed.",
  },
};

const at = (id) => document.getElementById(id);
const say = (text) => {
  at("said").textContent = text;
};

const [name, token] = location.hash.slice(1).split("=");
const kind = Object.hasOwn(KINDS, name) ? KINDS[name] : undefined;
// Gone from the address bar and the history.
history.replaceState(null, "", location.pathname);

if (kind && /^[0-9A-Za-z]+$/.test(token ?? "")) {
  document.title = kind.title;
  at("title").textContent = kind.title;
  at("why").textContent = kind.why;
  at("form").hidden = false;
} else {
  say("This link is not complete. Open it again from the mail.");
}

at("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const password = at("password").value;
  if (password !== at("again").value) {
    say("The two passwords differ.");
    return;
  }
  say("Saving …");
  try {
    const response = await fetch(kind.path + token, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ password }),
    });
    const body = response.status === 204 ? {} : await response.json();
    if (!response.ok) {
      say(body.detail ?? "Something went wrong.");
      return;
    }
    at("form").remove();
    const living = body.living_keys;
    const count = living ? living.user_keys + living.service_keys : 0;
    say(count > 0 ? `${kind.done} API keys of yours that still work: ${count}.` : kind.done);
    if (body.api_key) {
      at("secret").textContent = body.api_key.key;
      at("until").textContent = new Date(body.api_key.expires_at).toLocaleString();
      at("key").hidden = false;
    }
  } catch {
    say("The server can't be reached. Try again.");
  }
});
