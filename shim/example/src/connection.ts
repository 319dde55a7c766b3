// The app's way to e2eed and its bot user's place in the key exchange: opened when the app is enabled, anew when its settings change, and again
// while it fails. Nothing is opened when the code is loaded: Rocket.Chat's packager loads it, too.
//
// The client mends a connection that is lost, and the participant makes its passes by a timer of its own. What they cannot mend (e2eed was not there
// at the beginning, a token is refused) is tended to by the app's scheduler, which goes on whatever becomes of this process.
import { IAppAccessors } from '@rocket.chat/apps-engine/definition/accessors';
import { Client } from 'e2eed-client';
import { connect, E2eedError, EncryptedRooms, Fetch, Participant, ParticipantState } from 'e2eed-client/apps-engine';
import { Configuration, configurationOf } from './settings';

// Both sandboxes have it; what goes over it does not pass the server, which would refuse addresses of its own machine.
declare const fetch: Fetch | undefined;

/** Tokens do not become good by trying them again. */
const REFUSED = ['AUTHENTICATION_FAILED', 'REST_UNAUTHORIZED'];
const CONNECT_TIMEOUT_MS = 4000; // two ways may be tried, and servers give an app no more than 10 s to be enabled

export interface Link {
	configuration: Configuration;
	client: Client;
	participant: Participant;
	rooms: EncryptedRooms;
}

export class Connection {
	private link: Link | undefined;
	private turn: Promise<void> = Promise.resolve();
	private reopening = false;
	/** the configuration that was refused, as text */
	private refused: string | undefined;

	/** @note takes a line for the app's log; @opened is told of each new link. */
	constructor(
		private readonly accessors: IAppAccessors,
		private readonly appId: string,
		private readonly note: (line: string) => void,
		private readonly opened: (link: Link) => void,
	) {}

	/** The link there is, once what is being opened is open. */
	public async current(): Promise<Link | undefined> {
		await this.turn;
		return this.link;
	}

	/** Opens by the settings of now; several calls at once open once. */
	public open(): Promise<void> {
		if (this.reopening) return this.turn;
		this.reopening = true;
		return this.next(async () => {
			this.reopening = false;
			await this.end();
			await this.begin();
		});
	}

	public close(): Promise<void> {
		return this.next(() => this.end());
	}

	/** Called every minute: opens what is not open, and makes a pass. */
	public async tend(): Promise<void> {
		const link = await this.current();
		if (!link || link.client.state === 'closed' || link.participant.state.phase === 'stopped') await this.open();
		await (await this.current())?.participant.sync();
	}

	private next(step: () => Promise<void>): Promise<void> {
		this.turn = this.turn.then(step).catch((error) => this.note(`neither opened nor closed: ${error}`));
		return this.turn;
	}

	private async begin(): Promise<void> {
		let configuration: Configuration | undefined;
		try {
			configuration = await configurationOf(this.accessors.reader, this.appId);
			if (JSON.stringify(configuration) === this.refused) return;
			this.link = await this.connected(configuration);
		} catch (error) {
			if (!(error instanceof E2eedError)) throw error;
			if (configuration && REFUSED.includes(error.reason)) this.refused = JSON.stringify(configuration);
			this.note(`no connection to e2eed: ${error.message} (${error.reason})`);
			return;
		}
		this.opened(this.link);
		this.link.participant.start();
	}

	private async connected(configuration: Configuration): Promise<Link> {
		const { e2eed, bot } = configuration;
		const client = await connect({ ...e2eed, connectTimeoutMs: CONNECT_TIMEOUT_MS });
		const http = typeof fetch === 'function' ? fetch : this.accessors.http;
		const participant = new Participant({ client, http, ...bot, onChange: (state) => this.changed(configuration, state) });
		const sender = await this.accessors.reader.getUserReader().getById(bot.userId);

		this.note(`connected to ${client.server} by ${client.transport}`);
		return { configuration, client, participant, rooms: new EncryptedRooms({ client, rest: participant.rest, sender }) };
	}

	private changed(configuration: Configuration, { phase, reason, message, warnings, rooms }: ParticipantState): void {
		if (reason && REFUSED.includes(reason)) this.refused = JSON.stringify(configuration);
		const parts = Object.keys(rooms).map((id) => `${id} ${rooms[id].phase}${rooms[id].why ? ` (${rooms[id].why})` : ''}`);
		this.note(`key exchange ${phase}${message ? `: ${message} (${reason})` : ''}${parts.length > 0 ? `; ${parts.join(', ')}` : ''}`);
		warnings.forEach((warning) => this.note(warning));
	}

	private async end(): Promise<void> {
		const link = this.link;
		this.link = undefined;
		if (!link) return;
		await link.client.close(); // first, so that a pass under way ends at once
		await link.participant.stop();
	}
}
