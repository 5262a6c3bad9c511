"""The project's edge to Airflow. Nothing here decides anything about data: that is `msc_pipeline`."""
