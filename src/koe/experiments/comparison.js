// Sorts sentences by how much the runs differ.

const sorting = document.getElementById("sort");
if (sorting) {
  sorting.addEventListener("change", () => {
    const list = document.getElementById("sentences");
    const differences = (article) => JSON.parse(article.dataset.differences)[sorting.value] ?? -1;
    const byName = (a, b) => (a.dataset.pair < b.dataset.pair ? -1 : 1);
    const sorted = [...list.children].sort((a, b) =>
      (sorting.value ? differences(b) - differences(a) : 0) || byName(a, b));
    list.append(...sorted);
  });
}

// The exact two-sided binomial test of one half.

const SIGNIFICANT = 0.05;

function binomialP(count, trials) {
  if (trials === 0) return 1;
  let logChoose = 0;  // logarithm of `trials` choose k, for k from 0
  let tail = 0;
  for (let k = 0; k <= Math.min(count, trials - count); k += 1) {
    tail += Math.exp(logChoose - trials * Math.LN2);
    logChoose += Math.log(trials - k) - Math.log(k + 1);
  }
  return Math.min(1, 2 * tail);
}

// The least number of further trials needed: if all of them go the same way as the majority did.
function trialsNeeded(count, trials) {
  let more = 0;
  while (2 * (count + more) <= trials + more || binomialP(count + more, trials + more) >= SIGNIFICANT) more += 1;
  return more;
}

// The number of further trials needed if the share stays the same; Infinity if even `most` do not suffice.
function trialsNeededAtShare(count, trials, most = 2000) {
  if (2 * count <= trials) return Infinity;
  for (let more = 0; more <= most; more += 1) {
    const total = trials + more;
    if (binomialP(Math.round((count / trials) * total), total) < SIGNIFICANT) return more;
  }
  return Infinity;
}

// Votes, kept in this browser for this comparison. Without local storage they are lost when the page is closed.

class Votes {
  constructor(identity) {
    this.key = `koe-blind-${identity}`;
    this.kept = true;
    try {
      this.all = JSON.parse(localStorage.getItem(this.key)) ?? [];
    } catch {
      this.all = [];
      this.kept = false;
    }
  }

  add(vote) {
    this.all.push(vote);
    this.write();
  }

  forget() {
    this.all = [];
    this.write();
  }

  write() {
    try {
      localStorage.setItem(this.key, JSON.stringify(this.all));
    } catch {
      this.kept = false;
    }
  }

  of(mode, runs) {
    return this.all.filter((vote) => vote.mode === mode && String(vote.runs) === String(runs));
  }
}

// The result of a test as sentences. `count`: right answers, or votes for the preferred run.

function resultText(mode, letters, votes, runs) {
  const trials = votes.length;
  const right = votes.filter((vote) => (mode === "abx" ? vote.answer === vote.x : vote.answer === runs[1])).length;
  const leading = mode === "preference" && 2 * right < trials ? 0 : 1;
  const count = leading === 1 ? right : trials - right;
  const p = binomialP(count, trials);
  const share = `${count} of ${trials} (${Math.round((100 * count) / trials)} %)`;
  const outcome = mode === "abx" ? `${letters.join(" and ")}: ${share} right`
    : `${letters[leading]} was preferred to ${letters[1 - leading]} in ${share}`;
  const head = `${outcome}, p = ${p < 0.001 ? p.toExponential(1) : p.toFixed(3)} (exact two-sided binomial test, n = ${trials}).`;
  if (p < SIGNIFICANT && 2 * count > trials) {
    return [head, mode === "abx" ? "You can tell them apart." : `You prefer ${letters[leading]}.`];
  }
  const more = trialsNeeded(count, trials);
  const atShare = trialsNeededAtShare(count, trials);
  const verdict = mode === "abx" ? "This does not show that you can tell them apart."
    : "This does not show that you prefer one of them.";
  const least = `To be significant (p < ${SIGNIFICANT}) it takes at least ${more} more trial${more === 1 ? "" : "s"}`
    + `${mode === "abx" ? ", all of them right" : ", all of them the same way"}`;
  return [head, verdict, `${least}${Number.isFinite(atShare) && atShare > more ? `, or about ${atShare} at this share` : ""}.`];
}

function shuffled(items) {
  const result = [...items];
  for (let last = result.length - 1; last > 0; last -= 1) {
    const other = Math.floor(Math.random() * (last + 1));
    [result[last], result[other]] = [result[other], result[last]];
  }
  return result;
}

class BlindTest {
  constructor(data) {
    this.data = data;
    this.votes = new Votes(data.identity);
    this.part = Object.fromEntries(["form", "mode", "runs", "trials", "trial", "count", "text", "first", "second",
      "unknown", "x", "question", "hint", "end", "result", "details", "store", "export", "reset", "kept"]
      .map((name) => [name, document.getElementById(`blind-${name}`)]));
    this.answers = [...document.querySelectorAll("#blind-trial [data-answer]")];
    this.articles = new Map([...document.querySelectorAll("article.sentence")].map((article) => [article.dataset.pair, article]));
    this.listen();
    this.showResult();
  }

  get players() {
    const { first, second, x } = this.part;
    return this.mode === "abx" ? [first, second, x] : [first, second];
  }

  get mode() {
    return this.part.mode.value;
  }

  get runs() {
    return this.part.runs.value.split(",").map(Number);
  }

  listen() {
    const { form, mode, runs, end, reset, trial } = this.part;
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.start();
    });
    for (const choice of [mode, runs]) choice.addEventListener("change", () => this.showResult());
    for (const button of this.answers) button.addEventListener("click", () => this.vote(Number(button.dataset.answer)));
    for (const audio of [this.part.first, this.part.second, this.part.x]) {
      audio.addEventListener("play", () => {
        this.played.add(audio);
        this.allowVote();
      });
    }
    end.addEventListener("click", () => this.finish());
    this.part.export.addEventListener("click", () => this.save());
    reset.addEventListener("click", () => {
      if (!confirm("Forget all votes of this comparison?")) return;
      this.votes.forget();
      this.showResult();
    });
    trial.addEventListener("keydown", (event) => this.key(event));  // shortcuts work only while a trial has the focus
  }

  start() {
    const [first, second] = this.runs;
    const pairs = [...this.articles.keys()].filter((pair) => this.sound(pair, first) !== this.sound(pair, second));
    if (pairs.length === 0) {
      this.part.result.textContent = "The recordings of these runs are the same, sample for sample.";
      return;
    }
    const rounds = Math.ceil(Number(this.part.trials.value) / pairs.length);
    this.queue = Array.from({ length: rounds }, () => shuffled(pairs)).flat().slice(0, Number(this.part.trials.value));
    this.done = [];
    this.setRunning(true);
    this.next();
  }

  sound(pair, run) {
    return this.articles.get(pair).querySelector(`figure[data-run="${run}"] audio`).src;
  }

  setRunning(running) {
    const { form, trial, result, details, store } = this.part;
    for (const control of form.elements) control.disabled = running;
    trial.hidden = !running;
    for (const part of [result, details, store]) part.hidden = running;  // no results are shown before the end
  }

  next() {
    const runs = this.runs;
    const order = shuffled(runs);
    const { count, text, first, second, x, unknown, question, trial } = this.part;
    const pair = this.queue[this.done.length];
    this.current = { mode: this.mode, runs, pair, order, x: this.mode === "abx" ? shuffled(runs)[0] : null };
    first.src = this.sound(pair, order[0]);
    second.src = this.sound(pair, order[1]);
    unknown.hidden = this.mode !== "abx";
    if (this.mode === "abx") x.src = this.sound(pair, this.current.x);
    this.played = new Set();
    count.textContent = `Trial ${this.done.length + 1} of ${this.queue.length}`;
    text.textContent = this.articles.get(pair).querySelector("h3").firstChild.textContent.trim();
    question.textContent = this.mode === "abx" ? "X is" : "Better is";
    this.allowVote();
    trial.focus();
  }

  allowVote() {
    const waiting = this.players.filter((audio) => !this.played.has(audio));
    for (const button of this.answers) button.disabled = waiting.length > 0;
    this.part.hint.textContent = waiting.length > 0
      ? `Not played yet: ${waiting.map((audio) => audio.getAttribute("aria-label")).join(", ")}.` : "";
  }

  vote(answer) {
    if (this.players.some((audio) => !this.played.has(audio))) return;
    for (const audio of this.players) audio.pause();
    const vote = { ...this.current, answer: this.current.order[answer], time: new Date().toISOString() };
    this.done.push(vote);
    this.votes.add(vote);
    if (this.done.length < this.queue.length) this.next();
    else this.finish();
  }

  finish() {
    for (const audio of this.players) audio.pause();
    this.setRunning(false);
    this.showResult();
    this.part.result.focus();
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const play = { 1: this.part.first, 2: this.part.second, x: this.part.x }[event.key.toLowerCase()];
    const answer = { f: 0, s: 1 }[event.key.toLowerCase()];
    if (play && this.players.includes(play)) {
      play.currentTime = 0;
      play.play();
    } else if (answer !== undefined) {
      this.vote(answer);
    } else {
      return;
    }
    event.preventDefault();
  }

  // Shows the result of all votes on this question about these runs, and which run was which in each trial.
  showResult() {
    const { mode, runs } = this;
    const letters = runs.map((run) => this.data.runs[run].letter);
    const votes = this.votes.of(mode, runs);
    const lines = votes.length ? resultText(mode, letters, votes, runs) : [];
    this.part.result.replaceChildren(...lines.map((line, place) => {
      const paragraph = document.createElement("p");
      paragraph.append(place === 0 ? Object.assign(document.createElement("strong"), { textContent: line }) : line);
      return paragraph;
    }));
    this.part.details.hidden = votes.length === 0;
    const heads = ["Sentence", "First", "Second", ...(mode === "abx" ? ["X", "Answer", "Result"] : ["Better"])];
    const letter = (run) => this.data.runs[run].letter;
    const rows = votes.map((vote) => [vote.pair, ...vote.order.map(letter), ...(mode === "abx"
      ? [letter(vote.x), letter(vote.answer), vote.x === vote.answer ? "right" : "wrong"] : [letter(vote.answer)])]);
    const row = (cells, kind) => {
      const line = document.createElement("tr");
      line.append(...cells.map((text) => Object.assign(document.createElement(kind), { textContent: text })));
      return line;
    };
    this.part.details.querySelector("thead").replaceChildren(row(heads, "th"));
    this.part.details.querySelector("tbody").replaceChildren(...rows.map((cells) => row(cells, "td")));
    this.part.kept.textContent = `${this.votes.all.length} vote${this.votes.all.length === 1 ? "" : "s"}`
      + (this.votes.kept ? "" : "; this browser cannot store them, so they are lost when the page is closed");
  }

  save() {
    const content = JSON.stringify({ ...this.data, votes: this.votes.all }, null, 2);
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([content], { type: "application/json" }));
    link.download = `votes-${this.data.identity}.json`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }
}

if (document.getElementById("blind-form")) {
  new BlindTest(JSON.parse(document.getElementById("blind-data").textContent));
}
