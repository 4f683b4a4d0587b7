"""`python -m cli`: the `baton` command where it is not installed as one."""

from cli.main import main

main()
