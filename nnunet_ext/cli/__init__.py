"""The command ``nnunet_ext``: one module per verb, each imported only when its verb is typed."""
