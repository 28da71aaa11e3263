"""What happens around the steps: metrics, checkpoints, rules, summary. One file each; the trainer knows only
`Callback`."""
