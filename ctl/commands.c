/*
 * commands - the tables of options, commands and groups: all that can be given, and what help says about it
 */
#include "ctl/ctl.h"

#define EVERYWHERE .everywhere = true
#define REPEATABLE .repeatable = true

const struct option ctl_options[OPT_NR] = {
	[OPT_SOCKET] = { "--socket", "PATH", "e2eed's admin socket (" CTL_ADMIN_SOCKET "); @NAME: abstract",
			 EVERYWHERE },
	[OPT_JSON] = { "--json", NULL, "put out results and errors as JSON", EVERYWHERE },
	[OPT_HELP] = { "--help", NULL, "show help, also of a command", EVERYWHERE },
	[OPT_VERSION] = { "--version", NULL, "show the version", EVERYWHERE },
	[OPT_APP] = { "--app", "APPID", .about = "the app: to act as, or whose events" },
	[OPT_TOKEN_FILE] = { "--token-file", "FILE", .about = "holds the app's token; only its owner may read it" },
	[OPT_APP_SOCKET] = { "--app-socket", "PATH",
			     .about = "e2eed's app socket (" CTL_APP_SOCKET "); @NAME: abstract" },
	[OPT_TCP] = { "--tcp", "HOST:PORT", .about = "connect over loopback TCP instead" },
	[OPT_NAME] = { "--name", "NAME", .about = "a name for people to read" },
	[OPT_ROOM] = { "--room", "ROOMID=PERM[,PERM...]", "grant a room at once; may come several times", REPEATABLE },
	[OPT_PURGE_KEYS] = { "--purge-keys", NULL, .about = "destroy the app's keys of the room too" },
	[OPT_YES] = { "--yes", NULL, .about = "do it without asking" },
	[OPT_KEY_FILE] = { "--key-file", "FILE", .about = "the key file of a slot of the seal keyfile" },
	[OPT_PASSPHRASE_FD] = { "--passphrase-fd", "N",
				.about = "read the passphrase (or recovery key) from descriptor N" },
	[OPT_CREDENTIAL] = { "--credential", "NAME", .about = "name of e2eed's systemd credential" },
	[OPT_ANCHOR] = { "--anchor", "PATH", .about = "the anchor, where keystore.anchor names one" },
	[OPT_KEYSTORE] = { "--keystore", "FILE", .about = "the keystore, or a backup: it has the trail's key" },
	[OPT_SINCE] = { "--since", "N", .about = "what comes behind number N; 0: from the first" },
	[OPT_GRACE] = { "--grace", "TIME", .about = "7d, 12h, 30m, 90s: the former key unwraps so long (7d)" },
	[OPT_CLEAR] = { "--clear", NULL, .about = "destroy the escrow passphrase instead" },
	[OPT_FOLLOW] = { "--follow", NULL, .about = "go on with what is appended, until interrupted" },
};

#define NO_APP "there is no such app; 'e2eectl app list' shows those there are"
#define NO_ROOM \
	"there is no such app, or it has no grant on that room; see 'e2eectl app list' and 'e2eectl room list APPID'"

#define NO_MORE_KEYS \
	"the app is revoked, or 256 of its former keys still unwrap; see 'e2eectl app list' and 'e2eectl key list APPID'"

const struct command ctl_commands[] = {
	{ .name = "status",
	  .operands = "",
	  .about = "how the daemon is",
	  .help = "Shows state, problems, keystore, memory locking, workers and counts.",
	  .run = cmd_status },
	{ .name = "lock",
	  .operands = "",
	  .about = "drop all secrets from e2eed's memory",
	  .help = "Apps stay connected but are refused until 'e2eectl unlock'.",
	  .run = cmd_lock },
	{ .name = "unlock",
	  .operands = "",
	  .about = "open the keystore again",
	  .help = "With the seal that e2eed.conf names. If that needs a passphrase it is asked for\n"
		  "on the terminal, or read from --passphrase-fd: all there is, without a line feed\n"
		  "at its end. A passphrase that is given opens any passphrase slot.",
	  .options = OPT_BIT(OPT_PASSPHRASE_FD),
	  .run = cmd_unlock },
	{ .group = "app",
	  .name = "create",
	  .operands = "APPID",
	  .about = "make an app, its identity and token",
	  .help = "The token is shown this once: it is what the app authenticates with. APPID is\n"
		  "the app's id in Rocket.Chat, 1 to 128 bytes. Permissions as in 'room grant'.",
	  .min_operands = 1,
	  .max_operands = 1,
	  .options = OPT_BIT(OPT_NAME) | OPT_BIT(OPT_ROOM),
	  .exists =
		  "there is such an app, or there was one that has been revoked; choose another id ('e2eectl app list')",
	  .run = cmd_app_create },
	{ .group = "app",
	  .name = "list",
	  .operands = "",
	  .about = "all apps",
	  .help = "Shows each app's state, number of rooms and current identity key.",
	  .run = cmd_app_list },
	{ .group = "app",
	  .name = "show",
	  .operands = "APPID",
	  .about = "one app with its identities and rooms",
	  .help = "Shows when it was made and last used, its identity keys and its rooms.",
	  .min_operands = 1,
	  .max_operands = 1,
	  .not_found = NO_APP,
	  .run = cmd_app_show },
	{ .group = "app",
	  .name = "token",
	  .operands = "APPID",
	  .about = "make a new token for an app",
	  .help = "Prints the new token and nothing else. The old one is void at once, and sessions\n"
		  "made with it are closed. To keep it in a file:\n"
		  "  (umask 077 && e2eectl app token APPID > FILE)",
	  .min_operands = 1,
	  .max_operands = 1,
	  .not_found = NO_APP,
	  .run = cmd_app_token },
	{ .group = "app",
	  .name = "revoke",
	  .operands = "APPID",
	  .about = "end an app and destroy its secrets",
	  .help = "For good: closes its sessions, and destroys its token, identity keys and room\n"
		  "keys in memory and in the keystore's file. Its id cannot be used again. Backups\n"
		  "made before still hold the secrets. Asks on the terminal, unless --yes is given.",
	  .min_operands = 1,
	  .max_operands = 1,
	  .options = OPT_BIT(OPT_YES),
	  .not_found = NO_APP,
	  .run = cmd_app_revoke },
	{ .group = "app",
	  .name = "rotate",
	  .operands = "APPID",
	  .about = "give an app a new identity key",
	  .help = "The former key goes on unwrapping room keys until its grace ends, then it is\n"
		  "destroyed; 'key list' shows it. The new one is of use once it is published: the\n"
		  "app calls getKeyPublication, and Rocket.Chat takes the result. With --grace 0\n"
		  "the former key is destroyed at once, after a question unless --yes is given.",
	  .min_operands = 1,
	  .max_operands = 1,
	  .options = OPT_BIT(OPT_GRACE) | OPT_BIT(OPT_YES),
	  .not_found = NO_APP,
	  .forbidden = NO_MORE_KEYS,
	  .run = cmd_app_rotate },
	{ .group = "app",
	  .name = "escrow",
	  .operands = "APPID",
	  .about = "set what published keys open with",
	  .help = "What the app publishes (getKeyPublication) is sealed with this passphrase:\n"
		  "whoever knows it gets the app's key out of it. Without one it is sealed with a\n"
		  "random passphrase that nobody knows. It is asked for twice on the terminal, or\n"
		  "read from --passphrase-fd: 1 to 1024 printable ASCII characters.\n"
		  "--clear asks, unless --yes is given.",
	  .min_operands = 1,
	  .max_operands = 1,
	  .options = OPT_BIT(OPT_CLEAR) | OPT_BIT(OPT_PASSPHRASE_FD) | OPT_BIT(OPT_YES),
	  .not_found = NO_APP,
	  .run = cmd_app_escrow },
	{ .group = "app",
	  .name = "import",
	  .operands = "APPID USERID [FILE]",
	  .about = "adopt a key pair of Rocket.Chat",
	  .help = "FILE holds what Rocket.Chat's e2e.fetchMyKeys gives the user USERID: a JSON\n"
		  "object with public_key and private_key. Without it, or with -, standard input is\n"
		  "read. The passphrase that opens the private key is asked for on the terminal, or\n"
		  "read from --passphrase-fd. The key becomes the app's current one; the former\n"
		  "goes on unwrapping for 7 days, as in 'app rotate'.",
	  .min_operands = 2,
	  .max_operands = 3,
	  .options = OPT_BIT(OPT_PASSPHRASE_FD),
	  .not_found = NO_APP,
	  .forbidden = NO_MORE_KEYS,
	  .run = cmd_app_import },
	{ .group = "app",
	  .name = "export",
	  .operands = "APPID USERID",
	  .about = "an app's key pair, for Rocket.Chat",
	  .help = "Prints a JSON object as 'app import' takes it, and nothing else. The private key\n"
		  "is sealed for the user USERID with a passphrase that is asked for twice on the\n"
		  "terminal, or read from --passphrase-fd: printable ASCII characters.",
	  .min_operands = 2,
	  .max_operands = 2,
	  .options = OPT_BIT(OPT_PASSPHRASE_FD),
	  .not_found = NO_APP,
	  .run = cmd_app_export },
	{ .group = "key",
	  .name = "list",
	  .operands = "APPID",
	  .about = "the identity keys of an app",
	  .help = "Shows the current key, those that still unwrap and until when, and those that\n"
		  "were revoked, and when.",
	  .min_operands = 1,
	  .max_operands = 1,
	  .not_found = NO_APP,
	  .run = cmd_key_list },
	{ .group = "key",
	  .name = "revoke",
	  .operands = "APPID KEYID",
	  .about = "destroy a former identity key at once",
	  .help = "In memory and in the keystore's file, before its grace ends: room keys that were\n"
		  "wrapped only for it can no longer be imported, those that were imported stay.\n"
		  "The current key goes after 'app rotate' only. Backups made before still hold it.\n"
		  "Asks on the terminal, unless --yes is given.",
	  .min_operands = 2,
	  .max_operands = 2,
	  .options = OPT_BIT(OPT_YES),
	  .not_found =
		  "there is no such app, or it has no such key; see 'e2eectl app list' and 'e2eectl key list APPID'",
	  .forbidden =
		  "only a retired key can be revoked: the current one retires with 'e2eectl app rotate APPID', others are "
		  "gone already; 'e2eectl key list APPID' shows the states",
	  .run = cmd_key_revoke },
	{ .group = "room",
	  .name = "grant",
	  .operands = "APPID ROOMID PERM[,PERM...]",
	  .about = "let an app use a room",
	  .help = "Replaces an earlier grant on that room. Permissions:\n"
		  "  read        decrypt messages, import and list the room's keys\n"
		  "  write       encrypt messages\n"
		  "  create      make a new room key\n"
		  "  distribute  wrap the room's keys for other users",
	  .min_operands = 3,
	  .max_operands = 3,
	  .not_found = NO_APP,
	  .run = cmd_room_grant },
	{ .group = "room",
	  .name = "revoke",
	  .operands = "APPID ROOMID",
	  .about = "take a room from an app",
	  .help = "The app's keys of the room stay in the keystore for a later grant, unless\n"
		  "--purge-keys says otherwise: then they are destroyed in memory and in the\n"
		  "keystore's file, after a question unless --yes is given. Backups made before\n"
		  "still hold them.",
	  .min_operands = 2,
	  .max_operands = 2,
	  .options = OPT_BIT(OPT_PURGE_KEYS) | OPT_BIT(OPT_YES),
	  .not_found = NO_ROOM,
	  .run = cmd_room_revoke },
	{ .group = "room",
	  .name = "list",
	  .operands = "APPID",
	  .about = "the rooms of an app",
	  .help = "Shows permissions, number of keys and the current key's id for each room.",
	  .min_operands = 1,
	  .max_operands = 1,
	  .not_found = NO_APP,
	  .run = cmd_room_list },
	{ .group = "room",
	  .name = "keys",
	  .operands = "APPID ROOMID",
	  .about = "the keys an app has of a room",
	  .help = "The current key, then the others, newest first, with the time each was given\n"
		  "with. The keys themselves are shown to nobody.",
	  .min_operands = 2,
	  .max_operands = 2,
	  .not_found = NO_ROOM,
	  .run = cmd_room_keys },
	{ .group = "keystore",
	  .name = "verify",
	  .operands = "[FILE]",
	  .about = "see whether keystore or copy is whole",
	  .help = "Without FILE e2eed reads its keystore again from the start. With FILE that file\n"
		  "is opened as e2eed would at its start, but for reading only: by --key-file, or\n"
		  "by a passphrase or recovery key from --passphrase-fd or the terminal.\n"
		  "Exit status: 0 whole, 1 damaged, or it could not be opened.",
	  .max_operands = 1,
	  .options = OPT_BIT(OPT_KEY_FILE) | OPT_BIT(OPT_PASSPHRASE_FD),
	  .run = cmd_keystore_verify },
	{ .group = "keystore",
	  .name = "compact",
	  .operands = "",
	  .about = "drop what is out of date from the file",
	  .help = "Writes the keystore anew and wipes the former file. e2eed does this by itself\n"
		  "when it pays.",
	  .run = cmd_keystore_compact },
	{ .group = "keystore",
	  .name = "rekey",
	  .operands = "",
	  .about = "seal all records with a new data key",
	  .help = "Slots stay as they are. Backups keep the key they were made with.",
	  .run = cmd_keystore_rekey },
	{ .group = "keystore",
	  .name = "backup",
	  .operands = "PATH",
	  .about = "copy the keystore while it is in use",
	  .help = "e2eed writes a consistent copy, still sealed, to PATH: absolute, and of a file\n"
		  "that does not exist yet.",
	  .min_operands = 1,
	  .max_operands = 1,
	  .exists = "there is a file of that name already, which is left alone; choose another, or move it away",
	  .run = cmd_keystore_backup },
	{ .group = "keystore",
	  .name = "recover",
	  .operands = "FILE",
	  .about = "open a keystore with its recovery key",
	  .help = "For when all other secrets are lost: FILE gets a slot for --key-file, which is\n"
		  "made if it is missing. e2eed must be stopped. The recovery key is asked for on\n"
		  "the terminal, or read from --passphrase-fd; dashes, blanks and case do not\n"
		  "matter. Run by root, files belong to FILE's owner.",
	  .min_operands = 1,
	  .max_operands = 1,
	  .options = OPT_BIT(OPT_KEY_FILE) | OPT_BIT(OPT_PASSPHRASE_FD) | OPT_BIT(OPT_ANCHOR),
	  .required = OPT_BIT(OPT_KEY_FILE),
	  .run = cmd_keystore_recover },
	{ .group = "keystore slot",
	  .name = "list",
	  .operands = "[FILE]",
	  .about = "what opens the keystore, or a copy",
	  .help = "Shows number, seal and time of making of each key slot. With FILE the header of\n"
		  "that file is shown as it is, which needs no secret and authenticates nothing.",
	  .max_operands = 1,
	  .run = cmd_slot_list },
	{ .group = "keystore slot",
	  .name = "add",
	  .operands = "SEAL",
	  .about = "add a secret that opens the keystore",
	  .help = "SEAL is one of:\n"
		  "  keyfile     --key-file FILE, absolute; made if it is missing\n"
		  "  passphrase  asked for twice on the terminal, or from --passphrase-fd\n"
		  "  credential  of systemd: --credential NAME, else keystore.credential\n"
		  "  command     keystore.command_wrap and command_unwrap of e2eed.conf\n"
		  "  pkcs11      keystore.pkcs11_uri of e2eed.conf\n"
		  "  recovery    a key to print and put away, shown this once",
	  .min_operands = 1,
	  .max_operands = 1,
	  .options = OPT_BIT(OPT_KEY_FILE) | OPT_BIT(OPT_PASSPHRASE_FD) | OPT_BIT(OPT_CREDENTIAL),
	  .run = cmd_slot_add },
	{ .group = "keystore slot",
	  .name = "remove",
	  .operands = "N",
	  .about = "take a key slot away",
	  .help = "Its secret does not open the keystore any more; backups made before still open\n"
		  "with it. The last slot stays. Asks on the terminal, unless --yes is given.",
	  .min_operands = 1,
	  .max_operands = 1,
	  .options = OPT_BIT(OPT_YES),
	  .not_found = "there is no such slot; 'e2eectl keystore slot list' shows those there are",
	  .run = cmd_slot_remove },
	{ .group = "events",
	  .name = "tail",
	  .operands = "",
	  .about = "what apps are told, as it happens",
	  .help = "One line for each event of keys, rooms and tokens, of all apps or of --app\n"
		  "alone, from now on or from behind number N, until interrupted. With --json each\n"
		  "is an object on a line of its own, as e2eed tells it. When e2eed restarts, or\n"
		  "had to hang up because its events were not read, this goes on behind the last.",
	  .options = OPT_BIT(OPT_SINCE) | OPT_BIT(OPT_APP),
	  .not_found = NO_APP,
	  .run = cmd_events_tail },
	{ .group = "audit",
	  .name = "tail",
	  .operands = "",
	  .about = "the newest entries of the audit trail",
	  .help = "Ten of them, or all behind a number. With --json each entry is a line, as it\n"
		  "stands in the file. --follow asks for more once a second.",
	  .options = OPT_BIT(OPT_SINCE) | OPT_BIT(OPT_FOLLOW),
	  .run = cmd_audit_tail },
	{ .group = "audit",
	  .name = "verify",
	  .operands = "[FILE]",
	  .about = "see whether the audit trail is whole",
	  .help = "Without FILE e2eed reads and authenticates its trail, and the entries' numbers\n"
		  "are checked for gaps. With FILE that file, an archived trail or the one in use,\n"
		  "is checked here, with the key of --keystore, opened as by 'keystore verify'.\n"
		  "Exit status: 0 whole, 1 damaged, or it could not be checked.",
	  .max_operands = 1,
	  .options = OPT_BIT(OPT_KEYSTORE) | OPT_BIT(OPT_KEY_FILE) | OPT_BIT(OPT_PASSPHRASE_FD),
	  .run = cmd_audit_verify },
	{ .name = "rpc",
	  .operands = "METHOD [PARAMS]",
	  .about = "call any admin method",
	  .help = "PARAMS is a JSON object, {} when left out; - reads it from standard input, where\n"
		  "secrets belong. Prints the result as JSON exactly as it came; an error goes to\n"
		  "standard error as JSON. 'e2eectl rpc rpc.discover' describes all methods.",
	  .min_operands = 1,
	  .max_operands = 2,
	  .run = cmd_rpc },
	{ .name = "call",
	  .operands = "METHOD [PARAMS]",
	  .about = "call any app method, for tests",
	  .help = "Authenticates on the app socket with the token in FILE, then does as 'rpc' does.\n"
		  "FILE holds the token on one line, and nobody but its owner may read it.",
	  .min_operands = 1,
	  .max_operands = 2,
	  .options = OPT_BIT(OPT_APP) | OPT_BIT(OPT_TOKEN_FILE) | OPT_BIT(OPT_APP_SOCKET) | OPT_BIT(OPT_TCP),
	  .required = OPT_BIT(OPT_APP) | OPT_BIT(OPT_TOKEN_FILE),
	  .run = cmd_call },
};
const size_t ctl_n_commands = sizeof(ctl_commands) / sizeof(ctl_commands[0]);

const struct group ctl_groups[] = {
	{ "app", "apps and their tokens" },
	{ "key", "apps' identity keys" },
	{ "room", "what apps may do in rooms" },
	{ "keystore", "the keystore's file and what opens it" },
	{ "keystore slot", "what opens the keystore" },
	{ "events", "what apps are told" },
	{ "audit", "the audit trail" },
};
const size_t ctl_n_groups = sizeof(ctl_groups) / sizeof(ctl_groups[0]);
