"""The company that every suite uses: the meaning of `$names` and callers in `e2e/scenarios.tsv`."""

from __future__ import annotations

from datetime import UTC, datetime

from bindery_server import Server, new_key
from wire import Wire, identifier, predefined

# Enough of everything for several pages of three.
PAGES = 7
PEOPLE = {  # account role, organization role in Acme
    "member": ("MEMBER", "READ_ONLY"),  # reads the public space by fallback
    "worker": ("MEMBER", "MEMBER"),  # a member of the public space
    "annotator": ("ANNOTATOR", None),  # with developer access, so that its role is what refuses it
    "outsider": ("MEMBER", None),
}


class Scene:
    """Names, and keys of callers."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.names: dict[str, str] = {}
        self.keys = {"admin": server.admin_key, "unknown": server.saw(new_key())}
        server.start()
        for person, (role, _) in PEOPLE.items():
            self.names[person] = self.new_user(person, role)
        self.admin.ok("update_user", user_id=self.names["annotator"], is_developer=True)
        server.stop()
        for person in PEOPLE:
            self.keys[person] = server.key_from("key", "issue", "--email", f"{person}@acme.example")
        self.keys["stranger"] = server.key_from("account", "create", "--name", "another company")
        server.start()
        self.create()

    @property
    def admin(self) -> Wire:
        return self.caller("admin")

    def caller(self, name: str) -> Wire:
        return Wire(self.server, self.keys[name])

    def new_user(self, name: str, role: str = "MEMBER", mode: str = "NONE") -> str:
        email = f"{name.replace(' ', '.')}@acme.example"
        return self.admin.ok("create_user", name=name, email=email, role=predefined(role), invite_mode=mode)["id"]

    def create(self) -> None:
        ok, names = self.admin.ok, self.names
        names["admin"] = ok("list_users", email="admin@bindery")["users"][0]["id"]
        names |= {
            "acme": ok("create_organization", name="Acme")["id"],
            "globex": ok("create_organization", name="Globex")["id"],
            "reader": ok("create_role", name="Reader", permissions=["PROJECT_READ", "ROLE_BINDING_READ"])["id"],
            "blind": ok("create_role", name="Blind", permissions=["MONITOR_READ"])["id"],
            "space_admin_role": next(r["id"] for r in ok("list_roles")["roles"] if r["name"] == "Admin"),
            "invited": self.new_user("invited", mode="EMAIL_LINK"),
            "free": self.new_user("free"),
            "gone": self.new_user("gone"),
        }
        ok("delete_user", user_id=names["gone"])
        acme = names["acme"]
        for person, (_, role) in PEOPLE.items():
            if role:
                ok("add_organization_user", org_id=acme, user_id=names[person], role=predefined(role))
        names |= {
            "production": ok("create_space", name="Production", organization_id=acme)["id"],
            "staging": ok("create_space", name="Staging", organization_id=acme)["id"],
            "closed": ok("create_space", name="Closed", organization_id=acme, is_private=True)["id"],
        }
        production = names["production"]
        ok("add_space_user", space_id=production, user_id=names["worker"], role=predefined("MEMBER"))
        names |= {
            project: ok("create_project", name=project, space_id=production)["id"]
            for project in ("checkout", "search", "sealed")
        }
        names["hidden"] = ok("create_project", name="hidden", space_id=names["closed"])["id"]
        bind = {"role_id": names["reader"], "user_id": names["member"], "resource_type": "PROJECT"}
        names["binding"] = ok("create_role_binding", resource_id=names["checkout"], **bind)["id"]
        ok("create_role_binding", resource_id=names["sealed"], **bind)
        ok("create_resource_restriction", resource_id=names["sealed"])
        self.create_pages(bind)
        self.create_keys()
        names |= {
            f"missing_{kind}": identifier(word, 999_999)
            for kind, word in {
                "binding": "RoleBinding", "role": "Role", "user": "User", "organization": "Organization",
                "space": "Space", "project": "Model", "key": "ApiKey", "dashboard": "Dashboard",
            }.items()
        }

    def create_pages(self, bind: dict[str, str]) -> None:
        ok, names = self.admin.ok, self.names
        names["pages_from"] = now()
        for number in range(PAGES):
            ok("create_organization", name=f"page {number}")
            ok("create_space", name=f"page {number}", organization_id=names["acme"])
            project = ok("create_project", name=f"page {number}", space_id=names["production"])["id"]
            ok("create_role_binding", resource_id=project, **bind)
            ok("create_resource_restriction", resource_id=project)
            ok("create_api_key", key_type="USER", name=f"page {number}")
        names["pages_to"] = now()

    def create_keys(self) -> None:
        ok, names = self.admin.ok, self.names
        bound = [{"org_id": names["acme"], "spaces": [{"space_id": names["production"]}]}]
        service = ok("create_api_key", key_type="SERVICE", name="service", organizations=bound)
        names |= {
            "key": ok("create_api_key", key_type="USER", name="a user's")["id"],
            "expiring_key": ok(
                "create_api_key", key_type="USER", name="expiring", expires_at="2099-01-01T00:00:00Z"
            )["id"],
            "service_key": service["id"],
            "bot": service["bot_user"]["id"],
        }
        self.keys["bot"] = service["key"]


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
