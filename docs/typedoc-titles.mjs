import { Converter } from "typedoc";

/** Pages of the site are called by their first heading, not by their file. @param {import("typedoc").Application} app */
export function load(app) {
  app.converter.on(Converter.EVENT_CREATE_DOCUMENT, (_context, page) => {
    const [first] = page.content;
    const title = /^# (.+)$/m.exec(first?.text ?? "")?.[1];
    if (title !== undefined) page.name = title;
  });
}
