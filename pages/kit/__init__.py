"""What pages share: navigation, the session's state, job panels, results and upload reading."""
