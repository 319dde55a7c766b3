// An app that takes part in encrypted rooms: hears what is asked, answers in kind.
//
// What was said in a room leaves the app encrypted or not at all: it is in no log, in no notice, and in no storage.
import { IAppAccessors, IConfigurationExtend, IHttp, ILogger, IModify, IPersistence, IRead } from '@rocket.chat/apps-engine/definition/accessors';
import { App } from '@rocket.chat/apps-engine/definition/App';
import { IMessage, IPostMessageSent, IPostSystemMessageSent } from '@rocket.chat/apps-engine/definition/messages';
import { IAppInfo } from '@rocket.chat/apps-engine/definition/metadata';
import { StartupType } from '@rocket.chat/apps-engine/definition/scheduler';
import { ISetting } from '@rocket.chat/apps-engine/definition/settings';
import { Context, DecryptedMessage, E2eedError, explain, ListenerArguments } from 'e2eed-client/apps-engine';
import { commandIn } from './src/commands';
import { Connection, Link } from './src/connection';
import { settings } from './src/settings';

type Listener = (...args: ListenerArguments<IRead, IHttp, IPersistence, IModify>) => Promise<void>;
type Heard = Context<IRead, IHttp, IPersistence, IModify>;

export class EncryptedEchoApp extends App implements IPostMessageSent, IPostSystemMessageSent {
	private connection: Connection | undefined;
	private listener: Listener | undefined;
	/** lines for the log. An entry is kept if it is made while the server waits for the app, so they wait for the next time it does */
	private notes: string[] = [];
	/** room -> the reason that its people were told last */
	private readonly told = new Map<string, string>();

	constructor(info: IAppInfo, logger: ILogger, accessors: IAppAccessors) {
		super(info, logger, accessors);
	}

	public async onEnable(): Promise<boolean> {
		this.connection = new Connection(this.getAccessors(), this.getID(), (line) => this.notes.push(line), (link) => this.listenBy(link));
		await this.connection.open(); // enabled in any case: without settings there is nothing to connect to yet
		this.report();
		return true;
	}

	/** As it is: the engine writes what this gives into the app's log, secrets and all, and takes nothing for no change. */
	public async onPreSettingUpdate(): Promise<ISetting> {
		return undefined as unknown as ISetting;
	}

	public async onSettingUpdated(): Promise<void> {
		await this.connection?.open();
		this.report();
	}

	public async onDisable(): Promise<void> {
		await this.connection?.close();
		this.report();
	}

	// Which of the two tells of encrypted messages depends on the server's version.
	public async executePostMessageSent(message: IMessage, read: IRead, http: IHttp, persistence: IPersistence, modify: IModify): Promise<void> {
		await this.hear(message, read, http, persistence, modify);
	}

	public async executePostSystemMessageSent(message: IMessage, read: IRead, http: IHttp, persistence: IPersistence, modify: IModify): Promise<void> {
		await this.hear(message, read, http, persistence, modify);
	}

	protected async extendConfiguration(configuration: IConfigurationExtend): Promise<void> {
		await Promise.all(settings.map((setting) => configuration.settings.provideSetting(setting)));
		const app = this;
		await configuration.scheduler.registerProcessors([
			{
				id: 'tend',
				startupSetting: { type: StartupType.RECURRING, interval: '1 minute' },
				// newer engines call it as a method of an app that has the log of this one call, older ones of anything
				processor: async function (this: unknown): Promise<void> {
					await app.connection?.tend();
					(this instanceof EncryptedEchoApp ? this : app).report();
				},
			},
		]);
	}

	private listenBy(link: Link): void {
		this.listener = link.rooms.onMessage((message, context: Heard) => this.answer(link, message, context), {
			onError: (error, context) => this.tell(error, context),
		});
	}

	private async hear(...args: ListenerArguments<IRead, IHttp, IPersistence, IModify>): Promise<void> {
		const link = await this.connection?.current();
		// the server tells every app of every room's messages
		if (link && this.listener && (await this.isMember(link, args[0].room.id))) await this.listener(...args);
		this.report();
	}

	private async isMember({ participant }: Link, roomId: string): Promise<boolean> {
		if (participant.state.phase === 'idle') await participant.sync();
		return roomId in participant.state.rooms;
	}

	private async answer(link: Link, message: DecryptedMessage, context: Heard): Promise<void> {
		const { message: { room }, modify } = context;
		const command = commandIn(message);

		this.told.delete(room.id);
		if (!command) return;
		const text = await command(link, room).catch((error) => this.inWords(error));
		if (text === undefined) return;
		try {
			await link.rooms.sendEncryptedMessage(modify, room, { text, threadId: message.threadId });
		} catch (error) {
			if (!(error instanceof E2eedError)) throw error;
			await this.tell(error, context);
		}
	}

	private inWords(error: unknown): string {
		if (!(error instanceof E2eedError)) throw error;
		this.notes.push(`a command failed: ${error.message} (${error.reason})`);
		return explain(error);
	}

	/**
	 * What is wrong, to whoever wrote, once for each reason until something works again. A notice goes through the server in clear; explain() has nothing
	 * of any message, so these words may.
	 */
	private async tell(error: E2eedError, { message, modify, read }: Heard): Promise<void> {
		const { room, sender } = message as IMessage;

		if (this.told.get(room.id) === error.reason) return;
		this.told.set(room.id, error.reason);
		this.notes.push(`room ${room.id}: ${error.message} (${error.reason})`);
		const bot = await read.getUserReader().getAppUser();
		await modify.getNotifier().notifyUser(sender, { room, sender: bot || sender, text: explain(error) });
	}

	private report(): void {
		for (const line of this.notes.splice(0)) this.getLogger().info(line);
	}
}
