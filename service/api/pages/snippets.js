// The same request as curl, Python, TRL and JSON.

const quoted = text => `'${text.replaceAll("'", "'\\''")}'`;
const json = value => JSON.stringify(value, null, 2);

// JSON as Python writes it. JSON's texts are Python's texts.
function python(value, indent = 0) {
  const pad = " ".repeat(indent + 4), end = " ".repeat(indent);
  if (value === null) return "None";
  if (value === true || value === false) return value ? "True" : "False";
  if (typeof value !== "object") return JSON.stringify(value);
  const parts = Array.isArray(value) ? value.map(one => python(one, indent + 4)) : Object.entries(value).map(([name, one]) => `${JSON.stringify(name)}: ${python(one, indent + 4)}`);
  const [open, close] = Array.isArray(value) ? "[]" : "{}";
  const flat = `${open}${parts.join(", ")}${close}`;
  return flat.length + indent < 96 && !flat.includes("\n") ? flat : `${open}\n${parts.map(part => pad + part).join(",\n")},\n${end}${close}`;
}

// `url` is the service's address; `priority` is left to the client.
export function snippets(body, url, withKey) {
  const address = url.replace(/\/$/, "");
  const { items: [item], priority, ...options } = body;
  const { response, responses, ...row } = item;
  const given = Object.entries(options).map(([name, value]) => `, ${name}=${python(value, 4)}`).join("");
  const token = withKey ? ', token=os.environ["RUBRICD_KEY"]' : "";
  return {
    curl: `curl ${quoted(`${address}/v1/score`)} \\\n  -H 'Content-Type: application/json' \\\n${withKey ? '  -H "Authorization: Bearer $RUBRICD_KEY" \\\n' : ""}  -d ${quoted(json(body))}`,
    Python: `${withKey ? "import os\n\n" : ""}from trainer_client import JudgeClient\n\nitem = ${python(item)}\nwith JudgeClient.sync("${address}"${token}) as judge:\n    for outcome in judge.score([item]${given}):\n        print(outcome)`,
    TRL: `${withKey ? "import os\n\n" : ""}from datasets import Dataset\nfrom trl import GRPOConfig, GRPOTrainer\n\nfrom trainer_client import reward_function\n\nrows = Dataset.from_list([\n    ${python(row, 4)},\n])\nreward = reward_function("${address}"${token}${given})\nconfig = GRPOConfig(output_dir="out", num_generations=${Math.max(responses?.length ?? 0, 4)}, remove_unused_columns=False)\nGRPOTrainer("Qwen/Qwen3-0.6B", reward_funcs=reward, args=config, train_dataset=rows).train()`,
    JSON: json(body),
  };
}
