// Takes four pictures with the camera while the person turns their head as the server asks.

import { text } from "./texts.js";

const STEP_MS = 2_500;
const WIDTH = 640;
const JPEG_QUALITY = 0.9;

const panel = document.getElementById("challenge");
const part = (id) => document.getElementById(id);
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

function say(id, words) {
  part(id).textContent = words;
  part(id).hidden = !words;
}

async function post(path, body) {
  const answer = await fetch(panel.dataset.address + path, { method: "POST", headers: { Accept: "application/json" }, body });
  const told = await answer.json().catch(() => ({}));
  if (answer.status === 401) location.assign("/sign-in?done=ended");
  if (!answer.ok) throw new Error(told.error?.message ?? text("lost"));
  return told;
}

function takePicture(video) {
  const canvas = document.createElement("canvas");
  canvas.width = WIDTH;
  canvas.height = Math.round((WIDTH * video.videoHeight) / video.videoWidth);
  canvas.getContext("2d").drawImage(video, 0, 0, canvas.width, canvas.height);
  return new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", JPEG_QUALITY));
}

async function run(video) {
  const { id, turns } = await post("/begin");
  const form = new FormData();
  for (const turn of ["front", ...turns]) {
    say("step", text(turn));
    await pause(STEP_MS);
    form.append("file", await takePicture(video), "picture.jpg");
  }
  say("step", text("checking"));
  await post(`/${id}`, form);
  location.assign("/feed");
}

async function start() {
  const video = part("camera");
  part("start").hidden = part("own-photo").hidden = true;
  say("challenge-problem", "");
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "user", width: WIDTH } });
    video.srcObject = stream;
    video.hidden = false;
    await video.play();
  } catch {
    say("challenge-problem", text("no_camera"));
  }
  if (stream) await run(video).catch((error) => say("challenge-problem", error instanceof TypeError ? text("lost") : error.message));
  for (const track of stream?.getTracks() ?? []) track.stop();
  video.hidden = true;
  say("step", "");
  part("start").hidden = part("own-photo").hidden = false;
}

if (panel && navigator.mediaDevices?.getUserMedia) {
  part("no-camera").hidden = true;
  part("start").hidden = false;
  part("start").addEventListener("click", start);
}
