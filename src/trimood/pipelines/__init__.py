"""The stages: Kedro pipelines that meet only in the catalog."""
