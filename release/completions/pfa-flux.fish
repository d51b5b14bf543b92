# Completion of pfa-flux for fish.

complete --command pfa-flux --no-files \
    --arguments "(env _PFA_FLUX_COMPLETE=complete_fish _TYPER_COMPLETE_FISH_ACTION=get-args _TYPER_COMPLETE_ARGS=(commandline -cp) pfa-flux)" \
    --condition "env _PFA_FLUX_COMPLETE=complete_fish _TYPER_COMPLETE_FISH_ACTION=is-args _TYPER_COMPLETE_ARGS=(commandline -cp) pfa-flux"
