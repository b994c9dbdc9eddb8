// No click is lost. Gradio's client hears all answers in one stream, which the server ends with the last of them. The
// answer to a click that is made while that end is still on its way would come in another stream, which the client
// never opens. So the end is passed on only when no answer is awaited; otherwise the next stream goes on where it was.
{
  const PATIENCE_MS = 2000;
  const plainly = window.fetch.bind(window);
  const joining = new Set(); // clicks on their way to the server
  const awaited = new Set(), early = new Set(); // clicks without their answer; answers that came before the click's number
  let ending = Promise.resolve(); // until the client knows of an end that it was told of

  async function join(...request) {
    const answer = await plainly(...request);
    const click = answer.ok && (await answer.clone().json()).event_id;
    await ending;
    if (click && !early.delete(click)) awaited.add(click);
    return answer;
  }

  async function* blocksOf(body) {
    const reader = body.pipeThrough(new TextDecoderStream()).getReader();
    try {
      for (let rest = ""; ;) {
        const { done, value } = await reader.read();
        if (done) return;
        const blocks = (rest + value).split("\n\n");
        rest = blocks.pop();
        for (const block of blocks) yield `${block}\n\n`;
      }
    } finally {
      reader.cancel().catch(() => {}); // the connection is free for others
    }
  }

  async function* answersOf(first, request) {
    for (let answer = first; ; answer = await plainly(new Request(request))) {
      let end = null, heard = false;
      for await (const block of blocksOf(answer.body)) {
        const { msg, event_id: click } = JSON.parse(block.slice(block.indexOf(":") + 1));
        if (msg === "close_stream") { end = block; break; }
        if (msg === "process_completed" && !awaited.delete(click)) early.add(click);
        heard = true;
        yield block;
      }
      if (!end) return;
      while (joining.size) await Promise.allSettled(joining);
      if (heard && awaited.size) continue;
      awaited.clear(); // a stream in which nothing came has none of them
      const known = new Promise((resolve) => request.signal.addEventListener("abort", resolve));
      ending = Promise.race([known, new Promise((resolve) => setTimeout(resolve, PATIENCE_MS))]);
      yield end;
      return;
    }
  }

  async function listen(...asked) {
    const request = new Request(...asked), answer = await plainly(new Request(request));
    if (!answer.ok) return answer;
    const blocks = answersOf(answer, request), encoder = new TextEncoder();
    const body = new ReadableStream({
      async pull(controller) {
        try {
          const { done, value } = await blocks.next();
          if (done) controller.close();
          else controller.enqueue(encoder.encode(value));
        } catch (error) { // the connection is gone, and the client tells every click of it
          awaited.clear();
          early.clear();
          controller.error(error);
        }
      },
    });
    return new Response(body, { status: answer.status, headers: answer.headers });
  }

  window.fetch = (...request) => {
    const address = String(request[0].url ?? request[0]);
    if (/\/queue\/data\?/.test(address)) return listen(...request);
    if (!/\/queue\/join\b/.test(address)) return plainly(...request);
    const sent = join(...request);
    joining.add(sent);
    const arrived = () => joining.delete(sent);
    sent.then(arrived, arrived);
    return sent;
  };
}
