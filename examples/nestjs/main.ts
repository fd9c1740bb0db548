// The application in NestJS: injected into a service, its OpenAI API mounted, its life tied to the module's.
// Run it: npx tsx --tsconfig examples/nestjs/tsconfig.json examples/nestjs/main.ts [--once]
import "reflect-metadata";
import {
  Controller,
  Get,
  Inject,
  Injectable,
  Module,
  type OnApplicationShutdown,
  Query,
} from "@nestjs/common";
import { NestFactory } from "@nestjs/core";
import type { Application, OpenAiIngress } from "serve-llm";
import { app, model, stopApp } from "../app.ts";
import { askOnce, once } from "../engines.ts";

/** Token under which the application is injected. */
const PD_APP = Symbol("PD_APP");

/** Asks the model without HTTP. */
@Injectable()
class ChatService implements OnApplicationShutdown {
  readonly #app: Application<OpenAiIngress>;

  constructor(@Inject(PD_APP) pdApp: Application<OpenAiIngress>) {
    this.#app = pdApp;
  }

  async ask(content: string): Promise<string> {
    const answer = await this.#app.handle.chat({ model, messages: [{ role: "user", content }] });
    return answer.choices[0]?.message.content ?? "";
  }

  onApplicationShutdown(): Promise<void> {
    return stopApp();
  }
}

@Controller()
class AskController {
  readonly #chat: ChatService;

  constructor(@Inject(ChatService) chat: ChatService) {
    this.#chat = chat;
  }

  @Get("ask")
  ask(@Query("q") question: string): Promise<string> {
    return this.#chat.ask(question);
  }
}

@Module({
  controllers: [AskController],
  providers: [{ provide: PD_APP, useValue: app }, ChatService],
})
class AppModule {}

const web = await NestFactory.create(AppModule, { logger: ["error", "warn"] });
// Middleware: paths the application does not serve go on to Nest's controllers.
web.use(app.handler);
web.enableShutdownHooks();
await web.listen(once ? 0 : 8000, "127.0.0.1");
const url = await web.getUrl();
console.log(`Serving ${model} on ${url}`);

if (once) {
  await askOnce(url, model);
  console.log(`/ask answered: ${await (await fetch(`${url}/ask?q=Say%20something.`)).text()}`);
  await web.close();
}
