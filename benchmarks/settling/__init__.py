"""When a study is over: what rules that end one save, and what they miss."""
