"""`python -m services.trainer`."""


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    # Imported here: a training child imports this module again, and needs none of it.
    from services.trainer.app import create_app
    from services.trainer.settings import TrainerSettings
    from shared import settings as configuration
    from shared.service import serve

    settings = configuration.load(TrainerSettings)
    serve(create_app(settings), settings, settings.trainer_port)


if __name__ == "__main__":
    main()
