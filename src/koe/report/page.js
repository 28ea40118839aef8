"use strict";

const players = [...document.querySelectorAll("audio")];

// Only one player plays at a time.
document.addEventListener("play", (event) => {
  for (const other of players) {
    if (other !== event.target) other.pause();
  }
}, true);

// A mel shows the position of its recording's playback; a click on it plays from there.
for (const mel of document.querySelectorAll(".mel")) {
  const figure = mel.closest("figure");
  const position = [...figure.querySelectorAll(".mel")].indexOf(mel);
  const audio = figure.querySelectorAll("audio")[position];
  const playhead = mel.appendChild(document.createElement("span"));
  playhead.className = "playhead";
  const draw = () => {
    playhead.style.left = `${100 * audio.currentTime / (audio.duration || 1)}%`;
    playhead.hidden = audio.currentTime === 0;
    if (!audio.paused) requestAnimationFrame(draw);
  };
  audio.addEventListener("play", draw);
  audio.addEventListener("seeked", draw);
  mel.addEventListener("click", (event) => {
    const box = mel.getBoundingClientRect();
    audio.currentTime = audio.duration * (event.clientX - box.left) / box.width;
    audio.play();
  });
  draw();
}

// "Play in turn" plays a row from left to right, until another player is started or it is paused.
for (const row of document.querySelectorAll(".renderings")) {
  const queue = [...row.querySelectorAll("audio")];
  let turn = -1;
  const play = (position) => {
    turn = position < queue.length ? position : -1;
    if (turn < 0) return;
    queue[turn].currentTime = 0;
    queue[turn].play();
  };
  queue.forEach((audio, position) => {
    audio.addEventListener("ended", () => {
      if (position === turn) play(position + 1);
    });
    audio.addEventListener("pause", () => {
      if (position === turn && audio.paused && !audio.ended) turn = -1;
    });
  });
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "Play in turn";
  button.addEventListener("click", () => play(0));
  row.before(button);
}
