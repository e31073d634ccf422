pytest_plugins = ["tests.opensearch_fixture"]
