// Where an app finds what it must not hold in its code.
//
// The server's environment is the better place: only who administers the server's machine sees it. Settings of type `password` are masked in the
// form and lie in clear in the database, in its backups, and in every answer to an administrator (docs: shim/README.md).
import { E2eedError } from '../index';

export interface Credentials {
	/** of the app, from `e2eectl app create` */
	e2eedToken: string;
	/** of the bot user who is the room's member, and its personal access token; absent where they are set nowhere */
	userId?: string;
	authToken?: string;
}

/** What is used of IRead. */
export interface CredentialsRead {
	getEnvironmentReader(): {
		getEnvironmentVariables(): { getValueByName(name: string): Promise<string | undefined> };
		getSettings(): { getValueById(id: string): Promise<any> };
	};
}

const NAMES = { e2eedToken: 'E2EED_TOKEN', userId: 'E2EED_USER_ID', authToken: 'E2EED_AUTH_TOKEN' } as const;
const SETTINGS = { e2eedToken: 'e2eed_token', userId: 'e2eed_user_id', authToken: 'e2eed_auth_token' } as const;

/** `RC_APPS_<APP ID>_E2EED_TOKEN` and its like: what a server lets the app with this id read. */
export function environmentName(rocketChatAppId: string, name: string): string {
	return `RC_APPS_${rocketChatAppId.toUpperCase().replace(/-/g, '_')}_${name}`;
}

/**
 * Reads the app's credentials: each from the server's environment (permission `env.read`), where it is not set there from the app's setting
 * `e2eed_token`, `e2eed_user_id` or `e2eed_auth_token`. @rocketChatAppId: the id in app.json. Rejects with INVALID_PARAMS where there is no token.
 */
export async function credentials(read: CredentialsRead, rocketChatAppId: string): Promise<Credentials> {
	const environment = read.getEnvironmentReader();
	const found = async (which: keyof typeof NAMES): Promise<string | undefined> => {
		let value: unknown;
		try {
			value = await environment.getEnvironmentVariables().getValueByName(environmentName(rocketChatAppId, NAMES[which]));
		} catch {
			// the app may not read the environment
		}
		if (typeof value !== 'string' || value === '')
			try {
				value = await environment.getSettings().getValueById(SETTINGS[which]);
			} catch {
				// the app has no such setting
			}
		return typeof value === 'string' && value.trim() !== '' ? value.trim() : undefined;
	};
	const [e2eedToken, userId, authToken] = await Promise.all([found('e2eedToken'), found('userId'), found('authToken')]);
	if (!e2eedToken)
		throw new E2eedError(
			'INVALID_PARAMS',
			`the app has no token for e2eed: set ${environmentName(rocketChatAppId, NAMES.e2eedToken)} in the server's environment, or the app's setting ${SETTINGS.e2eedToken}`,
		);
	return { e2eedToken, userId, authToken };
}
