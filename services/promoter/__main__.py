"""Run the promoter: `python -m services.promoter`."""

import sys


def main() -> None:
    """Run until SIGTERM or SIGINT; exit with 1 and one sentence if the settings cannot be used."""
    from services.promoter.settings import PromoterSettings
    from shared.errors import SettingsError
    from shared.settings import load
    from shared.telemetry import configure_logging

    try:
        settings = load(PromoterSettings)
        configure_logging("promoter", level=settings.log_level, as_json=settings.log_json)
        from services.promoter.app import create_app
        from shared.service import serve

        serve(create_app(settings), settings, settings.promoter_port)
    except SettingsError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
