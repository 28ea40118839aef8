"""Short sentences that the demo voices say in tests."""

HELLO, THANKS, WEATHER = "はい。", "ありがとう。", "今日は良い天気ですね。"
STELLA, THINGS, YES = "Please call Stella.", "Ask her to bring these things.", "Yes."
