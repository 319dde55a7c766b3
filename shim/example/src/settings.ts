// What an administrator tells the app, under its settings.
//
// The secrets among them are better kept in the server's environment, which e2eed-client's credentials() looks at first: see README.md.
import { IRead } from '@rocket.chat/apps-engine/definition/accessors';
import { ISetting, SettingType } from '@rocket.chat/apps-engine/definition/settings';
import { ConnectOptions } from 'e2eed-client';
import { credentials, E2eedError } from 'e2eed-client/apps-engine';

interface Described {
	id: string;
	type: SettingType;
	packageValue: string | number;
	values?: { key: string; i18nLabel: string }[];
}

const text = (id: string, packageValue = ''): Described => ({ id, type: SettingType.STRING, packageValue });
const secret = (id: string): Described => ({ id, type: SettingType.PASSWORD, packageValue: '' });

const described: Described[] = [
	text('e2eed_app_id', 'echo-bot'),
	secret('e2eed_token'),
	{
		id: 'e2eed_transport', type: SettingType.SELECT, packageValue: 'auto',
		values: ['auto', 'tcp', 'unix'].map((key) => ({ key, i18nLabel: `e2eed_transport_${key}` })),
	},
	text('e2eed_host', '127.0.0.1'),
	{ id: 'e2eed_port', type: SettingType.NUMBER, packageValue: 7438 },
	text('e2eed_socket_path', '/run/e2eed/app.sock'),
	text('e2eed_user_id'),
	secret('e2eed_auth_token'),
	text('server_url', 'http://127.0.0.1:3000'),
];

/** Labels and descriptions are in i18n/. */
export const settings: ISetting[] = described.map((setting) => ({
	...setting, required: false, public: false, i18nLabel: setting.id, i18nDescription: `${setting.id}_description`,
}));

export interface Configuration {
	e2eed: Pick<ConnectOptions, 'appId' | 'transport' | 'host' | 'port' | 'socketPath'> & { token: string };
	bot: { serverUrl: string; userId: string; authToken: string };
}

/** Rejects with INVALID_PARAMS where something is missing. */
export async function configurationOf(read: IRead, appId: string): Promise<Configuration> {
	const values = read.getEnvironmentReader().getSettings();
	const [{ e2eedToken, userId, authToken }, e2eedAppId, transport, host, port, socketPath, serverUrl] = await Promise.all([
		credentials(read, appId),
		...['e2eed_app_id', 'e2eed_transport', 'e2eed_host', 'e2eed_port', 'e2eed_socket_path', 'server_url'].map((id) => values.getValueById(id)),
	]);
	if (!userId || !authToken) throw new E2eedError('INVALID_PARAMS', 'the app needs a bot user: its id (E2EED_USER_ID) and a personal access token of its own (E2EED_AUTH_TOKEN)');
	return {
		e2eed: { appId: e2eedAppId, token: e2eedToken, transport, host, port: Number(port), socketPath },
		bot: { serverUrl, userId, authToken },
	};
}
