//! `bindery demo`: a small company to try everything on, deleted when the command ends.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow};
use bindery_api::{KeyText, Mailer, Options};
use bindery_core::api_key::Secret;
use bindery_core::command::api_keys::{CreateServiceKey, KeyOrganization, KeySpace};
use bindery_core::command::operator::IssueUserKey;
use bindery_core::command::organizations::{AddOrganizationUser, CreateOrganization};
use bindery_core::command::projects::CreateProject;
use bindery_core::command::resource_restrictions::CreateResourceRestriction;
use bindery_core::command::role_bindings::CreateRoleBinding;
use bindery_core::command::roles::CreateRole;
use bindery_core::command::spaces::{AddSpaceUser, CreateSpace};
use bindery_core::command::users::{CreateUser, CreatedUser, Invitation};
use bindery_core::command::{Assignment, Caller, Command};
use bindery_core::id::{OrganizationId, ProjectId, RoleBindingId, RoleId, SpaceId, UserId};
use bindery_core::permission::{Permission, PermissionSet};
use bindery_core::resource::Bindable;
use bindery_core::role::{AccountRole, OrganizationRole, SpaceRole};
use bindery_core::text::{Description, Email, KeyName, Name, RoleName};
use bindery_node::Account;
use bindery_store::sqlite::SqliteStore;
use tokio::runtime::Runtime;

use crate::open::{self, Founder};
use crate::serve::{self, LogForm};

const USUAL_ADDRESS: &str = "127.0.0.1:8080";

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Where to listen, like 127.0.0.1:8081 or :8081; without it, 127.0.0.1:8080 or, if that is taken, any free port.
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,
    /// How the log on stderr reads.
    #[arg(long, value_enum, default_value_t = LogForm::Human)]
    log: LogForm,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    serve::start_log(arguments.log);
    let runtime = open::runtime()?;
    let stop = serve::stop_signal(&runtime)?;
    let listener = runtime.block_on(async {
        match &arguments.listen {
            Some(listen) => serve::bind("--listen", listen).await,
            None => match serve::bind("--listen", USUAL_ADDRESS).await {
                Ok(listener) => Ok(listener),
                Err(_) => serve::bind("--listen", "127.0.0.1:0").await,
            },
        }
    })?;
    let directory = tempfile::Builder::new()
        .prefix("bindery-demo-")
        // It has keys and people, so it stays private even if the umask would open directories.
        .permissions(std::fs::Permissions::from_mode(0o700))
        .tempdir()
        .context("failed to create a temporary directory")?;
    let node = Arc::new(open::node(Arc::new(SqliteStore::open(directory.path())?))?);
    let company = Company::found(&node, &runtime)?;
    let address = listener
        .local_addr()
        .context("the listener has no address")?;
    let url = format!("http://{address}");
    let options = Options::new(Mailer::new(None, &url)?);
    write!(std::io::stdout(), "{}", company.welcome(&url)).context("stdout is closed")?;
    serve::serve_until_stopped(&runtime, node, listener, options, stop);
    Ok(())
}

/// What the welcome message shows.
struct Company {
    account: Arc<Account>,
    admin_key: KeyText,
    member_key: KeyText,
    service_key: KeyText,
    binding: RoleBindingId,
    role: RoleId,
}

impl Company {
    fn found(node: &bindery_node::Node, runtime: &Runtime) -> Result<Self> {
        let admin_key = new_key()?;
        let founder = Founder::parse("demo", "Ada Park", "ada@acme.example", admin_key.clone())?;
        let account = open::found(node, runtime, open::next_account(node)?, founder)?;
        let caller = account
            .snapshot()
            .authenticate(&admin_key.hash(), node.clock().now())
            .context("the admin's key is valid")?;
        let scene = Scene {
            account: &account,
            runtime,
            caller,
        };
        let (binding, role, service_key) = scene.play()?;
        let member_key = new_key()?;
        scene.by(
            Caller::Operator,
            IssueUserKey {
                email: email("mia@acme.example")?,
                key_name: key_name("laptop")?,
                secret: member_key.secret(),
                is_enforcement_point: false,
            },
        )?;
        Ok(Self {
            account,
            admin_key,
            member_key,
            service_key,
            binding,
            role,
        })
    }

    fn welcome(&self, address: &str) -> String {
        let state = self.account.snapshot();
        let (binding, role) = (
            state.ids().encode(self.binding),
            state.ids().encode(self.role),
        );
        let patch = |key: &KeyText| {
            format!(
                "curl -sS -i -X PATCH '{address}/v2/role-bindings/{binding}' \\\n  \
                 -H 'Authorization: Bearer {}' -H 'Content-Type: application/json' \\\n  \
                 -d '{{\"role_id\":\"{role}\"}}'",
                key.reveal()
            )
        };
        format!(
            "listening on {address}\n\n\
             A sample company in a temporary directory; Ctrl-C stops the server and deletes it.\n\n  \
             Ada Park   account admin                     {}\n  \
             Mia Chen   plain member of Acme              {}\n  \
             nightly-export   service key on Production   {}\n\n\
             Mia is a Trace Auditor on the project checkout-agent. Make her an On-call Engineer there (200):\n\n{}\n\n\
             The same as Mia herself, who may not, and is not told that it exists (404):\n\n{}\n\n",
            self.admin_key.reveal(),
            self.member_key.reveal(),
            self.service_key.reveal(),
            patch(&self.admin_key),
            patch(&self.member_key),
        )
    }
}

/// The sample company: two organizations, public and private spaces, a restricted project, predefined and
/// custom roles, a service key.
struct Scene<'a> {
    account: &'a Account,
    runtime: &'a Runtime,
    caller: Caller,
}

impl Scene<'_> {
    fn play(&self) -> Result<(RoleBindingId, RoleId, KeyText)> {
        use Permission as P;
        let acme = self.organization("Acme", "Shop and payments")?;
        let borealis = self.organization("Borealis Research", "Field studies")?;
        let production = self.space(acme, "Production", true)?;
        let playground = self.space(acme, "Playground", false)?;
        let studies = self.space(borealis, "Field Studies", false)?;
        let checkout = self.project(production, "checkout-agent")?;
        let payroll = self.project(production, "payroll-assistant")?;
        self.project(playground, "prompt-sandbox")?;
        self.project(studies, "weather-notes")?;
        self.run(CreateResourceRestriction { project: payroll })?;
        let auditor = self.role(
            "Trace Auditor",
            "Reads traces and evaluations",
            &[P::ProjectRead, P::ProjectSpanRead, P::ProjectEvalTaskRead],
        )?;
        let on_call = self.role(
            "On-call Engineer",
            "Reads, annotates and repairs while on call",
            &[
                P::ProjectRead,
                P::ProjectUpdate,
                P::ProjectSpanRead,
                P::ProjectSpanAnnotate,
                P::ProjectSpanUpdate,
                P::MonitorRead,
                P::MonitorTrigger,
            ],
        )?;
        let mia = self.user("Mia Chen", "mia@acme.example", AccountRole::Member)?;
        let sam = self.user("Sam Okoro", "sam@acme.example", AccountRole::Member)?;
        let noor = self.user("Noor Haddad", "noor@acme.example", AccountRole::Annotator)?;
        self.join(acme, mia, OrganizationRole::Member)?;
        self.join(acme, sam, OrganizationRole::Member)?;
        self.join(borealis, sam, OrganizationRole::ReadOnly)?;
        self.join(acme, noor, OrganizationRole::Annotator)?;
        self.seat(production, sam, Assignment::Predefined(SpaceRole::Admin))?;
        self.seat(
            playground,
            noor,
            Assignment::Predefined(SpaceRole::Annotator),
        )?;
        self.seat(studies, sam, Assignment::Custom(auditor))?;
        let binding = CreateRoleBinding {
            user: mia,
            role: auditor,
            on: Bindable::Project(checkout),
        };
        let binding = self.run(binding)?;
        Ok((binding.id, on_call, self.service_key(acme, production)?))
    }

    fn run<C>(&self, command: C) -> Result<C::Outcome>
    where
        C: Command + Send + 'static,
        C::Outcome: Send,
    {
        self.by(self.caller, command)
    }

    fn by<C>(&self, caller: Caller, command: C) -> Result<C::Outcome>
    where
        C: Command + Send + 'static,
        C::Outcome: Send,
    {
        Ok(self
            .runtime
            .block_on(self.account.execute(command, caller, None))?)
    }

    fn organization(&self, called: &str, about: &str) -> Result<OrganizationId> {
        let description = description(about)?;
        Ok(self
            .run(CreateOrganization {
                name: name(called)?,
                description,
            })?
            .id)
    }

    fn space(
        &self,
        organization: OrganizationId,
        called: &str,
        is_private: bool,
    ) -> Result<SpaceId> {
        let description = Description::default();
        Ok(self
            .run(CreateSpace {
                name: name(called)?,
                organization,
                description,
                is_private,
            })?
            .id)
    }

    fn project(&self, space: SpaceId, called: &str) -> Result<ProjectId> {
        Ok(self
            .run(CreateProject {
                name: name(called)?,
                space,
            })?
            .id)
    }

    fn role(&self, called: &str, about: &str, permissions: &[Permission]) -> Result<RoleId> {
        let role = CreateRole {
            name: RoleName::parse(called).map_err(|error| anyhow!("{called}: {error}"))?,
            description: description(about)?,
            permissions: PermissionSet::of(permissions),
        };
        Ok(self.run(role)?.id)
    }

    fn user(&self, called: &str, address: &str, role: AccountRole) -> Result<UserId> {
        let user = CreateUser {
            name: name(called)?,
            email: email(address)?,
            role: Assignment::Predefined(role),
            invitation: Invitation::None,
            is_developer: None,
        };
        let (CreatedUser::Created(user) | CreatedUser::AlreadyInvited(user)) = self.run(user)?;
        Ok(user.id)
    }

    fn join(
        &self,
        organization: OrganizationId,
        user: UserId,
        role: OrganizationRole,
    ) -> Result<()> {
        let role = Assignment::Predefined(role);
        self.run(AddOrganizationUser {
            organization,
            user,
            role,
        })?;
        Ok(())
    }

    fn seat(&self, space: SpaceId, user: UserId, role: Assignment<SpaceRole>) -> Result<()> {
        self.run(AddSpaceUser { space, user, role })?;
        Ok(())
    }

    fn service_key(&self, organization: OrganizationId, space: SpaceId) -> Result<KeyText> {
        let key = new_key()?;
        let secret: Secret = key.secret();
        let role = Assignment::Predefined(SpaceRole::ReadOnly);
        self.run(CreateServiceKey {
            name: key_name("nightly-export")?,
            description: description("Exports traces every night")?,
            expires_at: None,
            account_role: Assignment::Predefined(AccountRole::Member),
            organizations: vec![KeyOrganization {
                organization,
                role: Assignment::Predefined(OrganizationRole::ReadOnly),
                spaces: vec![KeySpace { space, role }],
            }],
            secret,
        })?;
        Ok(key)
    }
}

fn new_key() -> Result<KeyText> {
    KeyText::generate().map_err(|error| anyhow!("no random numbers: {error}"))
}

fn name(text: &str) -> Result<Name> {
    Name::parse(text).map_err(|error| anyhow!("{text}: {error}"))
}

fn email(text: &str) -> Result<Email> {
    Email::parse(text).map_err(|error| anyhow!("{error}"))
}

fn key_name(text: &str) -> Result<KeyName> {
    KeyName::parse(text).map_err(|error| anyhow!("{text}: {error}"))
}

fn description(text: &str) -> Result<Description> {
    Description::parse(text).map_err(|error| anyhow!("{text}: {error}"))
}
