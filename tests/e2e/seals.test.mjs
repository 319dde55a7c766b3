// Each kind of seal, for real: the daemon makes a keystore with it, opens it again, refuses a wrong secret with words that help, and
// a kill in the middle of a new data key leaves a keystore that the same secret opens.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmodSync, copyFileSync, existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, test } from 'node:test';
import { newApp, random } from './lib/actors.mjs';
import { cases, E2EED, startDaemon, temporaryFolder } from './lib/daemon.mjs';

const CTL = process.env.E2EECTL_BIN ?? join(dirname(E2EED), 'e2eectl');
const CHEAP = { passphrase_memory_kib: 8192, passphrase_passes: 1 };
const script = (path, text) => (writeFileSync(path, `#!/bin/sh\n${text}\n`), chmodSync(path, 0o755), path);
const file = (path, text) => (writeFileSync(path, text, { mode: 0o600 }), path);

// What systemd would put into $CREDENTIALS_DIRECTORY: sealed and opened again by its own tool where that has a machine to work for.
function credential(dir, name) {
	const digits = randomBytes(32).toString('hex'), path = join(dir, name), sealed = join(dir, `${name}.sealed`), host = join(dir, `${name}.host`);
	if (!existsSync('/etc/machine-id')) return file(path, digits);
	const env = { ...process.env, SYSTEMD_CREDENTIAL_SECRET: host };
	execFileSync('systemd-creds', ['encrypt', '-q', '--with-key=host', `--name=${name}`, '-', sealed], { env, input: digits });
	execFileSync('systemd-creds', ['decrypt', '-q', `--name=${name}`, sealed, path], { env });
	chmodSync(path, 0o400);
	return path;
}

// A SoftHSM2 with two tokens, each with an AES key.
function softhsm(dir) {
	const conf = file(join(dir, 'softhsm2.conf'), `directories.tokendir = ${join(dir, 'tokens')}\nobjectstore.backend = file\n`);
	const env = { ...process.env, SOFTHSM2_CONF: conf }, module = '/usr/lib/softhsm/libsofthsm2.so';
	mkdirSync(join(dir, 'tokens'));
	for (const label of ['right', 'other']) {
		execFileSync('softhsm2-util', ['--init-token', '--free', '--label', label, '--so-pin', '5678', '--pin', '1234'], { env, stdio: 'pipe' });
		execFileSync('pkcs11-tool', ['--module', module, '--token-label', label, '--login', '--pin', '1234', '--keygen', '--key-type', 'AES:32', '--label', 'kek', '--id', '01'], { env, stdio: 'pipe' });
	}
	return { env: { SOFTHSM2_CONF: conf }, uri: (label) => `pkcs11:token=${label};object=kek?module-path=${module}` };
}

// right, wrong: settings that open it and that do not; says: what the log must say of the wrong ones
const kinds = {
	keyfile: (dir) => ({
		right: { key_file: join(dir, 'key') },
		wrong: { key_file: file(join(dir, 'other'), `${randomBytes(32).toString('hex')}\n`) },
		says: /does not open keystore/,
	}),
	passphrase: (dir) => ({
		right: { passphrase_file: file(join(dir, 'passphrase'), 'correct horse\n'), ...CHEAP },
		wrong: { passphrase_file: file(join(dir, 'other'), 'battery staple\n'), ...CHEAP },
		says: /the secret of seal "passphrase" does not open keystore/,
	}),
	credential: (dir) => {
		credential(dir, 'e2eed.key');
		credential(dir, 'other.key');
		return { right: { credential: 'e2eed.key' }, wrong: { credential: 'other.key' }, says: /does not open keystore/, env: { CREDENTIALS_DIRECTORY: dir } };
	},
	command: (dir) => {
		// a KMS of one key: openssl with a key from a file, so that neither arguments nor environment hold one
		const cipher = (name, key, flag) => script(join(dir, name), `exec openssl enc ${flag} -aes-256-ctr -pbkdf2 -pass file:${key}`);
		const key = file(join(dir, 'kms'), 'the KMS key\n'), other = file(join(dir, 'kms2'), 'another\n');
		const right = { command_wrap: cipher('wrap', key, '-e'), command_unwrap: cipher('unwrap', key, '-d') };
		return { right, wrong: { ...right, command_unwrap: cipher('unwrap2', other, '-d') }, says: /does not open keystore|must print/ };
	},
	pkcs11: (dir) => {
		const { env, uri } = softhsm(dir), pkcs11_pin_file = file(join(dir, 'pin'), '1234\n');
		return { right: { pkcs11_uri: uri('right'), pkcs11_pin_file }, wrong: { pkcs11_uri: uri('other'), pkcs11_pin_file }, says: /another key, or the slot is damaged/, env };
	},
};

for (const [seal, prepare] of Object.entries(kinds)) {
	describe(`seal = ${seal}`, () => {
		test('makes a keystore, opens it, refuses a wrong secret, and survives kills while the data key changes', async (t) => {
			const rng = random(), { right, wrong, says, env = {} } = prepare(temporaryFolder());
			t.diagnostic(`seed ${rng.seed}`);
			const daemon = await startDaemon({ config: { keystore: { key_file: null, seal, ...right } }, env });
			const { appId, token } = await newApp(daemon, await daemon.admin(), { key: false });
			const settings = (keys) => ({ keystore: { ...Object.fromEntries(Object.keys({ ...right, ...wrong }).map((key) => [key, null])), ...keys } });
			let generation = 1;
			for (let i = 0; i < cases(20); i++) {
				const admin = await daemon.admin();
				const rekeyed = admin.call('rekeyKeystore').then((answer) => (generation = answer.generation), () => {});
				if (rng.chance(0.8)) setTimeout(() => daemon.signal('SIGKILL'), rng.below(6)); // which is no measure of anything: any moment will do
				else await rekeyed.then(() => daemon.signal('SIGKILL'));
				await daemon.exited();
				await rekeyed;
				await daemon.start();
				await daemon.app(appId, token);
				const status = await (await daemon.admin()).call('getStatus');
				assert.equal(status.keystore.seal, seal);
				assert.ok(status.keystore.generation >= generation, `${status.keystore.generation} after ${generation} was answered`);
				assert.equal(status.state, 'ready', status.problems.join());
			}
			const slots = (await (await daemon.admin()).call('listSlots')).slots;
			assert.deepEqual(slots.map((slot) => [slot.slot, slot.seal]), [[0, seal]]);
			await daemon.terminate();
			daemon.configure(settings(wrong));
			const refused = await startDaemon({ config: daemon.config, dir: daemon.dir, env, expectExit: true });
			assert.equal(refused.code, 74);
			assert.match(refused.stderr, says);
			daemon.configure(settings(right));
			await daemon.start();
			await daemon.app(appId, token);
			await daemon.stop();
		});
	});
}

test('a recovery key opens a keystore whose key file is lost, offline, and makes it usable again', async () => {
	const daemon = await startDaemon();
	const admin = await daemon.admin();
	const { appId, token } = await newApp(daemon, admin, { key: false });
	const { recoveryKey } = await admin.call('addSlot', { seal: 'recovery' });
	await daemon.terminate();
	const lost = join(daemon.dir, 'lost');
	copyFileSync(daemon.config.keystore.key_file, lost);
	writeFileSync(daemon.config.keystore.key_file, `${'0'.repeat(64)}\n`);
	assert.equal((await startDaemon({ config: daemon.config, dir: daemon.dir, expectExit: true })).code, 74);
	const key_file = join(daemon.dir, 'new.key');
	execFileSync(CTL, ['keystore', 'recover', daemon.keystorePath, '--key-file', key_file, '--passphrase-fd', '0'], { input: `${recoveryKey.toUpperCase()}\n`, stdio: 'pipe' });
	daemon.configure({ keystore: { key_file } });
	await daemon.start();
	await daemon.app(appId, token);
	await daemon.stop();
});
