"""Stop the cluster and its models, whatever an interrupted script left behind.

    python closeClipper.py

Run it when a script ended before it could stop Clipper. It needs no connection, and running it twice is harmless.
"""

from clipper_magic import ClipperConnection, choose_container_manager

if __name__ == "__main__":
    ClipperConnection(choose_container_manager()).stop_all()
